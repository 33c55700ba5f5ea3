"""A nonce is valid for one request, and every edge recognises the nonces of every other."""

import base64
from dataclasses import replace

import pytest

from sipgw.sip.nonces import (
    NONCE_LENGTH,
    NONCE_LIFE_MS,
    NoncePurpose,
    NonceState,
    check_nonce,
    make_nonce,
    may_be_fresh,
)

KEY = b"k" * 32
NOW = 1_764_000_000_000
CHALLENGED = NoncePurpose("sipgw", "192.0.2.1", "call-1", "tag-1", 1)
RETRIED = replace(CHALLENGED, cseq=2)
NONCE = make_nonce(KEY, CHALLENGED, NOW)


def state(nonce: str = NONCE, purpose: NoncePurpose = RETRIED, *, after_ms: int = 100, key: bytes = KEY):
    return check_nonce(key, nonce, purpose, NOW + after_ms)


def test_every_nonce_has_the_length_that_a_glance_looks_for() -> None:
    assert len(NONCE) == len(make_nonce(KEY, CHALLENGED, 1)) == NONCE_LENGTH


def test_the_next_request_may_use_it() -> None:
    assert state() is NonceState.FRESH


def test_it_lives_for_thirty_seconds() -> None:
    assert state(after_ms=NONCE_LIFE_MS) is NonceState.FRESH
    assert state(after_ms=NONCE_LIFE_MS + 1) is NonceState.STALE


@pytest.mark.parametrize(
    "other",
    [
        {"cseq": 1},
        {"cseq": 3},
        {"call_id": "call-2"},
        {"from_tag": "tag-2"},
        {"source": "192.0.2.2"},
        {"realm": "other"},
        {"realm": "sipgw192", "source": ".0.2.1"},
    ],
    ids=str,
)
def test_no_other_request_may(other) -> None:
    assert state(purpose=replace(RETRIED, **other)) is NonceState.STALE


def test_another_gateways_nonce_is_none() -> None:
    assert state(key=b"x" * 32) is NonceState.STALE


def test_its_time_can_not_be_changed() -> None:
    data = bytearray(base64.urlsafe_b64decode(NONCE))
    data[5] ^= 1
    assert state(base64.urlsafe_b64encode(data).decode()) is NonceState.STALE


@pytest.mark.parametrize("nonce", ["", "x", "é", "====", "AAAA", NONCE + "A", NONCE[:-4], "\x00" * 40])
def test_what_is_no_nonce_is_stale(nonce) -> None:
    assert state(nonce) is NonceState.STALE


@pytest.mark.parametrize("after_ms", [0, NONCE_LIFE_MS, NONCE_LIFE_MS + 1])
def test_a_nonce_that_is_fresh_may_be_fresh_by_its_time_and_source_alone(after_ms: int) -> None:
    is_fresh = state(after_ms=after_ms) is NonceState.FRESH
    assert may_be_fresh(KEY, NONCE.encode(), CHALLENGED.source, NOW + after_ms) is is_fresh


def test_a_made_up_nonce_of_the_right_time_is_told_without_its_request() -> None:
    data = base64.urlsafe_b64decode(NONCE)
    made_up = base64.urlsafe_b64encode(data[:6] + bytes(21))
    assert not may_be_fresh(KEY, made_up, CHALLENGED.source, NOW)


def test_a_nonce_of_another_source_or_gateway_is_told_without_its_request() -> None:
    assert not may_be_fresh(KEY, NONCE.encode(), "192.0.2.2", NOW)
    assert not may_be_fresh(b"x" * 32, NONCE.encode(), CHALLENGED.source, NOW)


@pytest.mark.parametrize("at", [*range(27)])
def test_each_octet_of_a_nonce_counts(at: int) -> None:
    data = bytearray(base64.urlsafe_b64decode(NONCE))
    data[at] ^= 1
    assert state(base64.urlsafe_b64encode(data).decode()) is NonceState.STALE


@pytest.mark.parametrize("nonce", ["", "x", "?", "nonsense", "AAAAAAAA"])
def test_what_is_no_nonce_is_not_fresh(nonce: str) -> None:
    assert not may_be_fresh(KEY, nonce.encode(), CHALLENGED.source, NOW)
