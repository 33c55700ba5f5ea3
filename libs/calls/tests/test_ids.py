from hypothesis import given
from hypothesis import strategies as st

from sipgw.calls import call_id_for, random_call_id, rendezvous_owner
from sipgw.runtime.settings import Identity

KEY = bytes(range(32))
EDGES = st.lists(
    st.builds(Identity, st.text("abc", min_size=1), st.text("01", min_size=1)), min_size=1, unique=True
)


def test_every_edge_computes_the_same_id_and_another_key_another() -> None:
    assert call_id_for("a@b", "tag", KEY) == call_id_for("a@b", "tag", KEY)
    assert call_id_for("a@b", "tag", KEY) != call_id_for("a@b", "tag", KEY[::-1])


@given(st.text(), st.text(), st.text(), st.text())
def test_ids_differ_when_call_id_or_tag_differ(call_id: str, tag: str, other_id: str, other_tag: str) -> None:
    same = (call_id, tag) == (other_id, other_tag)
    assert (call_id_for(call_id, tag, KEY) == call_id_for(other_id, other_tag, KEY)) == same


def test_an_id_is_32_hexadecimal_digits() -> None:
    for call_id in (call_id_for("a", "b", KEY), random_call_id()):
        assert len(call_id) == 32
        int(call_id, 16)
    assert random_call_id() != random_call_id()


@given(EDGES, st.text())
def test_who_takes_a_key_does_not_depend_on_the_order_of_the_list(edges: list[Identity], key: str) -> None:
    assert rendezvous_owner(key, edges) == rendezvous_owner(key, list(reversed(edges)))


@given(EDGES, st.text())
def test_losing_an_edge_moves_only_its_own_keys(edges: list[Identity], key: str) -> None:
    owner = rendezvous_owner(key, edges)
    for lost in edges:
        left = [edge for edge in edges if edge != lost]
        if lost != owner:
            assert rendezvous_owner(key, left) == owner


def test_the_partitions_spread_over_the_edges() -> None:
    edges = [Identity(f"edge-{n}", f"{n}") for n in range(4)]
    shares = [sum(rendezvous_owner(f"p{p}", edges) == edge for p in range(64)) for edge in edges]
    assert min(shares) >= 6


def test_without_edges_nobody_takes_a_key() -> None:
    assert rendezvous_owner("p1", []) is None
