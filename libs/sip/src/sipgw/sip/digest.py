"""Digest authentication (RFC 3261 §22, RFC 8760, RFC 7616): challenges and credentials, from both ends.

MD5 and SHA-256 with qop=auth. No auth-int, no -sess, no user hash, and none of RFC 2069, which has no cnonce.
Nonces are in nonces.py.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sipgw.sip.errors import SipParseError
from sipgw.sip.grammar import TOKEN, quote_string, split_commas, unquote_string

QOP: Final = "auth"
_HEX = re.compile(r"[0-9a-fA-F]++")
_NONCE_COUNT = re.compile(r"[0-9a-fA-F]{8}+")


class DigestAlgorithm(StrEnum):
    """The algorithms in the order in which we offer them (RFC 8760 §2.4: the first is preferred)."""

    SHA256 = "SHA-256"
    MD5 = "MD5"

    def hash(self, text: bytes) -> str:
        """Return the digest of `text` in lower-case hex."""
        name = "md5" if self is DigestAlgorithm.MD5 else "sha256"
        return hashlib.new(name, text, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Challenge:
    """The contents of a WWW-Authenticate or Proxy-Authenticate line."""

    realm: str
    nonce: str
    algorithm: DigestAlgorithm
    is_stale: bool = False
    opaque: str | None = None
    has_qop: bool = True

    def __str__(self) -> str:
        stale = ", stale=true" if self.is_stale else ""
        opaque = f", opaque={quote_string(self.opaque)}" if self.opaque is not None else ""
        return (
            f"Digest realm={quote_string(self.realm)}, nonce={quote_string(self.nonce)}, "
            f'algorithm={self.algorithm}, qop="{QOP}"{opaque}{stale}'
        )

    @classmethod
    def parse(cls, text: str) -> "Challenge | None":
        """Read a challenge; return None for a scheme, algorithm or qop that we can't answer.

        Raise SipParseError.
        """
        fields = _fields_of(text, "Challenge")
        algorithm = _algorithm(fields) if fields is not None else None
        if fields is None or algorithm is None:
            return None
        offered = [one.strip().lower() for one in fields.get("qop", QOP).split(",")]
        if QOP not in offered:
            return None
        return cls(
            realm=_given(fields, "realm", "Challenge"),
            nonce=_given(fields, "nonce", "Challenge"),
            algorithm=algorithm,
            is_stale=fields.get("stale", "").lower() == "true",
            opaque=fields.get("opaque"),
            has_qop="qop" in fields,
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """The contents of an Authorization or Proxy-Authorization line.

    The repr leaves out what would help to guess the password.
    """

    username: str
    realm: str
    nonce: str = field(repr=False)
    uri: str
    response: str = field(repr=False)
    algorithm: DigestAlgorithm
    cnonce: str = field(repr=False)
    nonce_count: str
    opaque: str | None = None

    def __str__(self) -> str:
        opaque = f", opaque={quote_string(self.opaque)}" if self.opaque is not None else ""
        return (
            f"Digest username={quote_string(self.username)}, realm={quote_string(self.realm)}, "
            f"nonce={quote_string(self.nonce)}, uri={quote_string(self.uri)}, response="
            f'"{self.response}", algorithm={self.algorithm}, cnonce={quote_string(self.cnonce)}, '
            f"qop={QOP}, nc={self.nonce_count}{opaque}"
        )

    @classmethod
    def parse(cls, text: str) -> "Credentials | None":
        """Read credentials; return None for a scheme or algorithm that we don't offer.

        Raise SipParseError.
        """
        fields = _fields_of(text, "Credentials")
        algorithm = _algorithm(fields) if fields is not None else None
        if fields is None or algorithm is None:
            return None
        if fields.get("qop", "").lower() != QOP:
            raise SipParseError(400, "Credentials Without qop=auth")
        nonce_count = _given(fields, "nc", "Credentials")
        response = _given(fields, "response", "Credentials")
        if not _NONCE_COUNT.fullmatch(nonce_count) or not _HEX.fullmatch(response):
            raise SipParseError(400, "Malformed Credentials")
        return cls(
            username=_given(fields, "username", "Credentials"),
            realm=_given(fields, "realm", "Credentials"),
            nonce=_given(fields, "nonce", "Credentials"),
            uri=_given(fields, "uri", "Credentials"),
            response=response,
            algorithm=algorithm,
            cnonce=_given(fields, "cnonce", "Credentials"),
            nonce_count=nonce_count,
            opaque=fields.get("opaque"),
        )

    def prove(self, method: str, password: bytes) -> bool:
        """Return whether the sender knew the password, in the same time for a right and a wrong one."""
        expected = digest_response(
            self.algorithm,
            username=self.username,
            realm=self.realm,
            password=password,
            method=method,
            uri=self.uri,
            nonce=self.nonce,
            cnonce=self.cnonce,
            nonce_count=self.nonce_count,
        )
        return hmac.compare_digest(expected, self.response.lower())


def digest_response(
    algorithm: DigestAlgorithm,
    *,
    username: str,
    realm: str,
    password: bytes,
    method: str,
    uri: str,
    nonce: str,
    cnonce: str,
    nonce_count: str,
) -> str:
    """Compute the response of RFC 7616 §3.4.1 with qop=auth, in lower-case hex."""
    who = algorithm.hash(b":".join((_octets(username), _octets(realm), password)))
    what = algorithm.hash(_octets(f"{method}:{uri}"))
    return algorithm.hash(_octets(f"{who}:{nonce}:{nonce_count}:{cnonce}:{QOP}:{what}"))


def answer_challenges(
    lines: Iterable[str], *, method: str, uri: str, username: str, password: bytes, cnonce: str
) -> Credentials | None:
    """Return credentials for the first challenge of a 401 or 407 that we can answer.

    The first one is the peer's preferred one.
    """
    for challenge in filter(None, map(Challenge.parse, lines)):
        if challenge.has_qop:
            nonce_count = "00000001"
            response = digest_response(
                challenge.algorithm,
                username=username,
                realm=challenge.realm,
                password=password,
                method=method,
                uri=uri,
                nonce=challenge.nonce,
                cnonce=cnonce,
                nonce_count=nonce_count,
            )
            return Credentials(
                username,
                challenge.realm,
                challenge.nonce,
                uri,
                response,
                challenge.algorithm,
                cnonce,
                nonce_count,
                challenge.opaque,
            )
    return None


def _fields_of(text: str, name: str) -> dict[str, str] | None:
    """Return the parameters after ``Digest``; None for another scheme."""
    scheme, _, rest = text.strip().partition(" ")
    if scheme.lower() != "digest":
        return None
    fields: dict[str, str] = {}
    for piece in split_commas(rest):
        key, equals, value = piece.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals or not TOKEN.fullmatch(key):
            raise SipParseError(400, f"Malformed {name}")
        is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
        fields.setdefault(key, unquote_string(value) if is_quoted else value)
    return fields


def _algorithm(fields: dict[str, str]) -> DigestAlgorithm | None:
    """Return the algorithm named; MD5 when none is (RFC 3261 §22.4)."""
    named = fields.get("algorithm", DigestAlgorithm.MD5).upper()
    return next((one for one in DigestAlgorithm if one == named), None)


def _given(fields: dict[str, str], key: str, name: str) -> str:
    value = fields.get(key)
    if not value:
        raise SipParseError(400, f"{name} Without {key}")
    return value


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
