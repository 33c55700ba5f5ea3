import pytest

from sipgw.store import PARTITIONS, edges_key, partition_key, partition_of, relays_key


def test_the_partition_is_the_first_byte_of_the_id_modulo_64() -> None:
    assert partition_of("00" * 16) == 0
    assert partition_of("3f" + "00" * 15) == 63
    assert partition_of("40" + "ff" * 15) == 0
    assert {partition_of(f"{byte:02x}" + "0" * 30) for byte in range(256)} == set(range(PARTITIONS))


@pytest.mark.parametrize("call_id", ["", "zz" * 16, "<sip:x>"])
def test_an_id_that_is_not_hexadecimal_has_no_partition(call_id: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        partition_of(call_id)


def test_all_keys_of_a_partition_share_a_hash_tag() -> None:
    assert partition_key(7, "call", "07ab") == "sipgw:{p07}:call:07ab"
    assert partition_key(7, "stream") == "sipgw:{p07}:stream"
    assert relays_key("room") == "sipgw:{relays}:room"
    assert edges_key("leases") == "sipgw:{edges}:leases"
