"""The CA and the leaves over years of virtual time."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from sipgw.operator.pki import certificates as pki

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def authority(now: datetime = START) -> pki.Authority:
    return pki.renew_authority(None, now, "gw CA")


def is_believed(leaf: pki.Leaf, bundle: bytes, role: str, now: datetime) -> bool:
    """Verify as a client does: the chain, the validity and the name."""
    roots = x509.load_pem_x509_certificates(bundle)
    verifier = (
        PolicyBuilder().store(Store(roots)).time(now).build_server_verifier(x509.DNSName(f"{role}.sipgw"))
    )
    try:
        verifier.verify(x509.load_pem_x509_certificate(leaf.pair.certificate), [])
    except VerificationError:
        return False
    return True


@pytest.mark.parametrize("role", pki.ROLES)
def test_a_leaf_is_believed_for_its_role_and_no_other(role: str) -> None:
    leaf = pki.renew_leaf(None, role, authority(), START)
    assert is_believed(leaf, leaf.bundle, role, START)
    other = next(one for one in pki.ROLES if one != role)
    assert not is_believed(leaf, leaf.bundle, other, START)


def test_nothing_due_is_the_same_object() -> None:
    held = authority()
    leaf = pki.renew_leaf(None, "edge", held, START)
    soon = START + 10 * DAY
    assert pki.renew_authority(held, soon, "gw CA") is held
    assert pki.renew_leaf(leaf, "edge", held, soon) is leaf


def test_a_leaf_is_made_anew_at_two_thirds_of_its_life() -> None:
    held = authority()
    leaf = pki.renew_leaf(None, "edge", held, START)
    assert pki.renew_leaf(leaf, "edge", held, START + 19.9 * DAY) is leaf
    renewed = pki.renew_leaf(leaf, "edge", held, START + 20.1 * DAY)
    assert renewed.pair != leaf.pair
    assert pki.expires_at(renewed.pair.certificate) == START + 50.1 * DAY


@pytest.mark.parametrize(
    "broken",
    [
        pki.KeyPair(b"", b""),
        pki.KeyPair(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"x"),
    ],
)
def test_what_somebody_broke_is_made_anew(broken: pki.KeyPair) -> None:
    held = authority()
    renewed = pki.renew_leaf(pki.Leaf(broken, held.bundle), "relay", held, START)
    assert is_believed(renewed, held.bundle, "relay", START)


def test_a_leaf_of_another_role_or_with_a_foreign_key_is_made_anew() -> None:
    held = authority()
    edge, relay = (pki.renew_leaf(None, role, held, START) for role in ("edge", "relay"))
    assert pki.renew_leaf(relay, "edge", held, START) is not relay
    mixed = pki.Leaf(pki.KeyPair(edge.pair.certificate, relay.pair.key), held.bundle)
    assert pki.renew_leaf(mixed, "edge", held, START).pair != mixed.pair


def test_the_next_ca_is_believed_a_day_before_it_signs() -> None:
    first = authority()
    due = START + pki.CA_LIFE * 2 / 3 + DAY
    announced = pki.renew_authority(first, due, "gw CA")
    assert announced.current == first.current
    assert announced.next is not None
    assert announced.next.certificate in announced.bundle
    assert pki.renew_authority(announced, due + 0.9 * DAY, "gw CA") is announced
    promoted = pki.renew_authority(announced, due + 1.1 * DAY, "gw CA")
    assert promoted.current == announced.next
    assert first.current.certificate in promoted.bundle


def test_over_three_years_any_two_processes_believe_each_other_even_if_one_lags_by_half_a_day() -> None:
    """Each process holds what its Secret had at most 12 h ago."""
    held: pki.Authority | None = None
    leaves: dict[str, pki.Leaf | None] = {"edge": None, "relay": None}
    lagging: list[dict[str, pki.Leaf]] = []
    authorities: set[bytes] = set()
    step, lag = timedelta(hours=12), 1
    for number in range(3 * 365 * 2):
        now = START + number * step
        held = pki.renew_authority(held, now, "gw CA")
        leaves = {role: pki.renew_leaf(leaf, role, held, now) for role, leaf in leaves.items()}
        authorities.add(held.current.certificate)
        lagging = [*lagging[-lag:], {role: leaf for role, leaf in leaves.items() if leaf is not None}]
        old, new = lagging[0], lagging[-1]
        if old is not new and (old["relay"], old["edge"]) == (new["relay"], new["edge"]):
            continue  # unchanged since it was verified
        assert is_believed(new["relay"], old["edge"].bundle, "relay", now)
        assert is_believed(old["relay"], new["edge"].bundle, "relay", now)
    assert len(authorities) == 5  # one each 244 days


def test_the_bundle_of_a_leaf_follows_without_a_new_leaf() -> None:
    first = authority()
    leaf = pki.renew_leaf(None, "edge", first, START + 240 * DAY)
    announced = pki.renew_authority(first, START + 245 * DAY, "gw CA")
    followed = pki.renew_leaf(leaf, "edge", announced, START + 245 * DAY)
    assert (followed.pair, followed.bundle) == (leaf.pair, announced.bundle)


def test_an_expired_ca_is_replaced_at_once() -> None:
    late = START + pki.CA_LIFE + DAY
    assert pki.renew_authority(authority(), late, "gw CA").current != authority().current
