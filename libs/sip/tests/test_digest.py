"""Digest authentication: the vectors of RFC 2617 §3.5 and RFC 7616 §3.9.1, the grammar, both ends."""

import random
from contextlib import suppress

import pytest

from sipgw.sip import (
    Challenge,
    Credentials,
    DigestAlgorithm,
    SipParseError,
    answer_challenges,
    digest_response,
)

MD5, SHA256 = DigestAlgorithm.MD5, DigestAlgorithm.SHA256
RFC_7616 = {
    "username": "Mufasa",
    "realm": "http-auth@example.org",
    "password": b"Circle of Life",
    "method": "GET",
    "uri": "/dir/index.html",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    "nonce_count": "00000001",
}
RFC_2617 = {
    "username": "Mufasa",
    "realm": "testrealm@host.com",
    "password": b"Circle Of Life",
    "method": "GET",
    "uri": "/dir/index.html",
    "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
    "cnonce": "0a4f113b",
    "nonce_count": "00000001",
}


@pytest.mark.parametrize(
    ("algorithm", "given", "response"),
    [
        (MD5, RFC_2617, "6629fae49393a05397450978507c4ef1"),
        (MD5, RFC_7616, "8ca523f5e9506fed4657c9700eebdbec"),
        (SHA256, RFC_7616, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
    ids=["RFC 2617 MD5", "RFC 7616 MD5", "RFC 7616 SHA-256"],
)
def test_the_rfcs_vectors(algorithm, given, response) -> None:
    assert digest_response(algorithm, **given) == response


def challenge(**fields: object) -> Challenge:
    return Challenge(**{"realm": "sipgw", "nonce": "n1", "algorithm": SHA256, **fields})  # type: ignore[arg-type]


def answered(*lines: str, password: bytes = b"secret") -> Credentials | None:
    return answer_challenges(
        lines, method="INVITE", uri="sip:bot@gw", username="alice", password=password, cnonce="c1"
    )


@pytest.mark.parametrize("algorithm", list(DigestAlgorithm))
def test_who_knows_the_password_can_prove_it(algorithm) -> None:
    credentials = answered(str(challenge(algorithm=algorithm)))
    assert credentials is not None
    received = Credentials.parse(str(credentials))
    assert received == credentials
    assert received.prove("INVITE", b"secret")
    assert not received.prove("INVITE", b"Secret")
    assert not received.prove("BYE", b"secret")


def test_a_challenge_reads_as_it_was_written() -> None:
    for one in (challenge(), challenge(is_stale=True), challenge(opaque='a"\\,b', realm='x, "y"')):
        assert Challenge.parse(str(one)) == one
    assert str(challenge()) == 'Digest realm="sipgw", nonce="n1", algorithm=SHA-256, qop="auth"'


def test_credentials_read_as_they_were_written_whatever_the_names() -> None:
    one = Credentials('a"b\\', "r,s", "n", "sip:a;b=c@d?e", "ab" * 16, MD5, 'c"n', "0000000a", "o")
    assert Credentials.parse(str(one)) == one


def test_the_first_challenge_that_can_be_answered_is() -> None:
    lines = (
        "Bearer realm=x",
        'Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="auth"',
        'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth-int"',
        'Digest realm="r", nonce="n2", algorithm=SHA-256, qop="auth-int,auth"',
        'Digest realm="r", nonce="n3", algorithm=MD5, qop="auth"',
    )
    credentials = answered(*lines)
    assert credentials is not None
    assert (credentials.nonce, credentials.algorithm) == ("n2", SHA256)
    assert answered(*lines[:3]) is None


def test_a_challenge_without_an_algorithm_means_md5() -> None:
    parsed = Challenge.parse('digest  realm = "r" ,nonce="n",qop="auth"')
    assert parsed is not None
    assert parsed.algorithm is MD5


@pytest.mark.parametrize(
    "text",
    [
        "Digest",
        "Digest realm",
        'Digest realm="r"',
        'Digest realm="r, nonce="n"',
        'Digest username="u", realm="r", nonce="n", uri="sip:x", response="00", cnonce="c", nc=1, qop=auth',
        'Digest username="u", realm="r", nonce="n", uri="x", response="x", cnonce="c", nc=00000001, qop=auth',
        'Digest username="u", realm="r", nonce="n", uri="sip:x", response="00"',
        'Digest username="", realm="r", nonce="n", uri="x", response="00", cnonce="c", nc=00000001, qop=auth',
    ],
)
def test_broken_credentials_get_400(text) -> None:
    with pytest.raises(SipParseError) as refused:
        Credentials.parse(text)
    assert refused.value.status == 400


def test_another_scheme_or_algorithm_is_no_error() -> None:
    assert Credentials.parse("Bearer abc") is None
    assert Credentials.parse('Digest algorithm=SHA-512-256, username="u"') is None
    assert Credentials.parse("") is None


def test_no_repr_helps_to_guess() -> None:
    credentials = answered(str(challenge()))
    assert credentials is not None
    for hidden in (credentials.response, credentials.nonce, credentials.cnonce):
        assert hidden not in repr(credentials)


def test_any_text_is_credentials_or_a_parse_error() -> None:
    chance = random.Random(7)
    text = str(answered(str(challenge())))
    for _ in range(2000):
        at, to = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        mutated = text[:at] + chance.choice(['"', ",", "\\", "=", "", "\x00", "é", "Digest "]) + text[to:]
        with suppress(SipParseError):
            parsed = Credentials.parse(mutated)
            assert parsed is None or isinstance(parsed.prove("INVITE", b"secret"), bool)
