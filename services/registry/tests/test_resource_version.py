import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgw.registry.errors import BadResourceVersion
from sipgw.registry.resource_version import ResourceVersion, order_of
from sipgw.store import PARTITIONS

POSITIONS = st.lists(
    st.builds("{}-{}".format, st.integers(0, 2**48), st.integers(0, 2**32)),
    min_size=PARTITIONS,
    max_size=PARTITIONS,
)


@given(st.from_regex("[0-9a-f:]{1,80}", fullmatch=True), POSITIONS)
def test_what_is_written_is_read_back(epoch: str, positions: list[str]) -> None:
    version = ResourceVersion(epoch, tuple(positions))
    assert ResourceVersion.parse(str(version)) == version


def packed(text: str) -> str:
    return base64.urlsafe_b64encode(zlib.compress(text.encode())).decode()


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "abcd",
        packed("1 epoch 0-0"),
        packed("2 e" + " 0-0" * PARTITIONS),
        packed("1 e" + " x" * PARTITIONS),
        "é",
    ],
)
def test_what_we_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(BadResourceVersion):
        ResourceVersion.parse(text)


@given(st.text())
def test_no_text_crashes_it(text: str) -> None:
    with pytest.raises(BadResourceVersion):
        ResourceVersion.parse(text)


def test_positions_order_by_number_and_not_by_text() -> None:
    assert order_of("9-0") < order_of("10-0") < order_of("10-2") < order_of("10-10")


def test_an_advanced_version_moves_the_named_partitions_alone() -> None:
    version = ResourceVersion("e", ("0-0",) * PARTITIONS).advanced({3: "7-1"})
    assert version.positions[3] == "7-1"
    assert set(version.positions) == {"0-0", "7-1"}
