from pathlib import Path

import pytest

from sipgw.config import SealBroken, SealKey

KEY = SealKey(b"k" * 32)


def test_what_is_sealed_comes_back():
    assert KEY.unseal(KEY.seal(b"hunter2", "trunk a"), "trunk a") == b"hunter2"


def test_another_key_opens_nothing():
    with pytest.raises(SealBroken, match="another key"):
        SealKey.random().unseal(KEY.seal(b"hunter2", "trunk a"), "trunk a")


def test_a_seal_holds_for_its_purpose_only():
    with pytest.raises(SealBroken, match="another purpose"):
        KEY.unseal(KEY.seal(b"hunter2", "trunk a"), "trunk b")


def test_a_changed_byte_is_noticed_wherever_it_is():
    sealed = KEY.seal(b"hunter2", "a")
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(SealBroken):
            KEY.unseal(bytes(changed), "a")
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            KEY.unseal(sealed[:length], "a")


def test_a_nonce_serves_one_value_and_purpose():
    nonces = {KEY.seal(value, use)[4:16] for value in (b"a", b"b") for use in ("a", "b")}
    assert len(nonces) == 4


def test_a_key_file_may_end_in_a_newline(tmp_path: Path):
    path = tmp_path / "key"
    path.write_bytes(b"k" * 32 + b"\n")
    assert SealKey.from_file(path).unseal(KEY.seal(b"x", "a"), "a") == b"x"


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="at least 32"):
        SealKey(b"k" * 31)
