"""Our tags are recognised by every edge that has the key, and no others are."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.sip_edge.sip.identifiers import call_id_of_tag
from sipgw.sip_edge.sip.local_tags import LocalTags

CALL = "0123456789abcdef0123456789abcdef"
DAY_S = 86_400.0
KEY = b"k" * 32


class Edge:
    """The tags of an edge, and its clock."""

    def __init__(self, key: bytes = KEY) -> None:
        self.now_s = 0.0

        async def get_key() -> bytes:
            return key

        self.tags = LocalTags(get_key, lambda: self.now_s)

    def takes(self, tag: str) -> bool:
        call_id, _, rest = tag.partition(".")
        return self.tags.may_be_ours(call_id, rest)


async def started(key: bytes = KEY) -> Edge:
    edge = Edge(key)
    await edge.tags.learn_key()
    return edge


async def test_every_edge_recognises_the_tags_of_every_other_one() -> None:
    tag = await (await started()).tags.make(CALL)
    assert re.fullmatch(CALL + r"\.[0-9a-f]{16}", tag)
    assert call_id_of_tag(tag) == CALL
    assert (await started()).takes(tag)
    assert not (await started(b"x" * 32)).takes(tag)


async def test_no_two_tags_are_alike() -> None:
    edge = await started()
    assert await edge.tags.make(CALL) != await edge.tags.make(CALL)


@pytest.mark.parametrize("at", [*range(32), *range(33, 49)])
async def test_a_tag_with_any_digit_changed_is_none_of_ours(at: int) -> None:
    edge = await started()
    tag = await edge.tags.make(CALL)
    changed = tag[:at] + f"{int(tag[at], 16) ^ 1:x}" + tag[at + 1 :]
    assert not edge.takes(changed)


@given(st.text("0123456789abcdef", min_size=32, max_size=32), st.text("0123456789abcdef", max_size=20))
async def test_made_up_tags_are_none_of_ours(call_id: str, rest: str) -> None:
    edge = await started()
    edge.now_s = DAY_S
    assert not edge.takes(f"{call_id}.{rest}")


async def test_tags_of_an_earlier_release_may_be_ours_for_a_day() -> None:
    edge = await started()
    earlier = f"{CALL}.89abcdef"
    assert edge.takes(earlier)
    edge.now_s = DAY_S - 1
    assert edge.takes(earlier)
    edge.now_s = DAY_S
    assert not edge.takes(earlier)


async def test_any_tag_in_our_form_may_be_ours_until_the_key_is_known() -> None:
    edge = Edge()
    assert edge.takes(f"{CALL}.89abcdef01234567")
    await edge.tags.learn_key()
    assert not edge.takes(f"{CALL}.89abcdef01234567")
