"""Find the trunk of a new INVITE by its source, else by digest authentication (RFC 3261 §22, RFC 8760).

A request from a trunk's source is not challenged. No state is kept but the count of wrong passwords: all
edges share the key that nonces are checked with. Passwords are unsealed on demand, and never logged.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from sipgw.api.config.v1 import config_pb2 as config
from sipgw.config.matching import digest_trunks, match_digest_trunk, match_trunk
from sipgw.config.sealing import SealBroken, SealKey, unseal_password
from sipgw.runtime.telemetry.logs import get_logger
from sipgw.sip import (
    Challenge,
    Credentials,
    DigestAlgorithm,
    RequestReceived,
    SipParseError,
    SipRequest,
    SipUri,
    parse_uri,
)
from sipgw.sip.nonces import NoncePurpose, NonceState, check_nonce, make_nonce, may_be_fresh
from sipgw.sip_edge import metrics
from sipgw.sip_edge.call.routing import user_of
from sipgw.sip_edge.errors import Rejected
from sipgw.sip_edge.guard.credentials_glance import read_nonces, read_purpose
from sipgw.sip_edge.limits import WrongPasswordLimits

_log = get_logger("sipgw.sip_edge.authentication")

NONCE_SECRET: Final = "digest-nonce"
_NOBODYS_PASSWORD: Final = b"nobody has this password"
_ALGORITHMS: Final = {
    DigestAlgorithm.SHA256: config.DIGEST_ALGORITHM_SHA256,
    DigestAlgorithm.MD5: config.DIGEST_ALGORITHM_MD5,
}
_MAX_SOURCES: Final = 10_000


class WrongPasswords:
    """Counts wrong passwords of each source, for the sources that were wrong last."""

    def __init__(self, limits: WrongPasswordLimits) -> None:
        self._limits = limits
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def note(self, source: str, now_ms: int) -> None:
        """Count a wrong password."""
        since_ms, count = self._counts.pop(source, (now_ms, 0))
        if now_ms - since_ms >= self._limits.period_ms:
            since_ms, count = now_ms, 0
        self._counts[source] = (since_ms, count + 1)
        if len(self._counts) > _MAX_SOURCES:
            self._counts.popitem(last=False)

    def are_too_many(self, source: str, now_ms: int) -> bool:
        """Tell whether the source has to wait."""
        since_ms, count = self._counts.get(source, (now_ms, 0))
        return count >= self._limits.count and now_ms - since_ms < self._limits.period_ms


class Passwords:
    """Unseals passwords of trunks. If one cannot be unsealed, the key file is read again."""

    def __init__(self, key_file: Path | None) -> None:
        self._key_file = key_file
        self._key: SealKey | None = None

    def of(self, trunk: config.Trunk) -> bytes:
        """Unseal the password of a trunk. Raises SealBroken, which says what to check."""
        if self._key is not None:
            try:
                return unseal_password(trunk, self._key)
            except SealBroken:
                pass
        self._key = self._read()
        return unseal_password(trunk, self._key)

    def _read(self) -> SealKey:
        if self._key_file is None:
            raise SealBroken("this edge has no --seal-key-file")
        try:
            return SealKey.from_file(self._key_file)
        except (OSError, ValueError) as error:
            raise SealBroken(f"--seal-key-file: {error}") from error


class Authentication:
    """Authenticates new INVITEs."""

    def __init__(
        self,
        passwords: Passwords,
        wrong: WrongPasswordLimits,
        nonce_key: Callable[[], Awaitable[bytes]],
        now_ms: Callable[[], int],
        retry_after: tuple[tuple[str, str], ...],
        on_proof: Callable[[str], None],
    ) -> None:
        """`on_proof` is called with the host of each right password."""
        self._passwords = passwords
        self._wrong = WrongPasswords(wrong)
        self._nonce_key = nonce_key
        self._now_ms = now_ms
        self._retry_after = retry_after
        self._on_proof = on_proof
        self._known_key: bytes | None = None

    async def learn_key(self) -> bytes:
        """Get the key of nonces. Raises StoreUnavailable."""
        self._known_key = await self._nonce_key()
        return self._known_key

    def challenge_of(
        self, gateway: config.GatewayConfig, request: SipRequest, source: str
    ) -> Rejected | None:
        """Give the 401 or 400 for an INVITE without credentials for a fresh nonce.

        None: check its password first; also while the key of nonces is not known.
        """
        if self._known_key is None:
            return None
        try:
            self._fresh_credentials(gateway, request, source, self._known_key)
        except Rejected as rejected:
            return rejected
        return None

    def has_challenged(self, gateway: config.GatewayConfig, head: bytes, lowered: bytes, source: str) -> bool:
        """Tell from the unparsed head of an INVITE whether it responds to a challenge of this gateway.

        `lowered` is the head in lower case. True only for a nonce that this gateway made for the source;
        False proves nothing.
        """
        key, now_ms = self._known_key, self._now_ms()
        if key is None:
            return False
        nonces = [one for one in read_nonces(head, lowered) if may_be_fresh(key, one, source, now_ms)]
        if not nonces or self._wrong.are_too_many(source, now_ms):
            return False
        purpose = read_purpose(head, lowered, gateway.gateway.name, source)
        if purpose is None:
            return False
        return any(check_nonce(key, one.decode(), purpose, now_ms) is NonceState.FRESH for one in nonces)

    async def trunk_of(self, gateway: config.GatewayConfig, event: RequestReceived) -> config.Trunk | None:
        """Give the trunk; None if the config has no trunk for the source and none with a password.

        Raises Rejected with 401, 403 or 400, and StoreUnavailable until the key of nonces is known.
        """
        source = event.source.host
        trunk = match_trunk(gateway, source)
        if trunk is not None or not digest_trunks(gateway):
            return trunk
        credentials = self._fresh_credentials(gateway, event.request, source, await self.learn_key())
        return self._proved(gateway, event.request, credentials, source)

    def _fresh_credentials(
        self, gateway: config.GatewayConfig, request: SipRequest, source: str, key: bytes
    ) -> Credentials:
        """Give credentials with a fresh nonce. Raises Rejected: 401 with a challenge, or 400."""
        realm = gateway.gateway.name
        purpose = NoncePurpose(realm, source, request.call_id, request.from_.tag or "", request.cseq.number)
        credentials = _credentials_of(request, realm)
        is_stale = credentials is not None
        if credentials is not None:
            state = check_nonce(key, credentials.nonce, purpose, self._now_ms())
            if state is NonceState.FRESH:
                return credentials
        asked = digest_trunks(gateway)
        raise self._challenge(key, purpose, _algorithms(asked, request), is_stale=is_stale)

    def _proved(
        self, gateway: config.GatewayConfig, request: SipRequest, credentials: Credentials, source: str
    ) -> config.Trunk:
        now_ms = self._now_ms()
        if self._wrong.are_too_many(source, now_ms):
            metrics.AUTHENTICATIONS.labels("too many wrong").inc()
            raise Rejected(403, "Too Many Wrong Passwords")
        trunk = match_digest_trunk(gateway, credentials.username)
        password = self._password_of(trunk) if trunk is not None else _NOBODYS_PASSWORD
        is_proved = credentials.prove(request.method, password)
        is_taken = trunk is not None and credentials.algorithm in _algorithms([trunk], request)
        if trunk is None or not (is_proved and is_taken and _is_for(credentials.uri, request)):
            self._wrong.note(source, now_ms)
            metrics.AUTHENTICATIONS.labels("wrong").inc()
            _log.warning("wrong_credentials", source=source, trunk=trunk.name if trunk is not None else None)
            raise Rejected(403, "Wrong Credentials")
        metrics.AUTHENTICATIONS.labels("right").inc()
        self._on_proof(source)
        return trunk

    def _password_of(self, trunk: config.Trunk) -> bytes:
        try:
            return self._passwords.of(trunk)
        except SealBroken as error:
            _log.error("password_unreadable", trunk=trunk.name, error=str(error))
            raise Rejected(503, "Trunk Password Unreadable", headers=self._retry_after) from error

    def _challenge(
        self, key: bytes, purpose: NoncePurpose, algorithms: list[DigestAlgorithm], *, is_stale: bool
    ) -> Rejected:
        metrics.AUTHENTICATIONS.labels("stale" if is_stale else "asked").inc()
        nonce = make_nonce(key, purpose, self._now_ms())
        challenges = (Challenge(purpose.realm, nonce, one, is_stale=is_stale) for one in algorithms)
        return Rejected(401, headers=tuple(("WWW-Authenticate", str(one)) for one in challenges))


def _algorithms(trunks: list[config.Trunk], request: SipRequest) -> list[DigestAlgorithm]:
    """Choose the algorithms to offer.

    The caller is not known yet; if its From user is a trunk's username, it probably is that trunk.
    """
    likely = [trunk for trunk in trunks if trunk.digest.username == user_of(request.from_.uri)]
    taken = {one for trunk in likely or trunks for one in trunk.digest.algorithms}
    return [one for one, code in _ALGORITHMS.items() if code in taken or not taken]


def _credentials_of(request: SipRequest, realm: str) -> Credentials | None:
    """Give the credentials for our realm.

    A client that responds to every challenge puts the preferred algorithm first.
    """
    try:
        found = [Credentials.parse(line) for line in request.headers.get_all("Authorization")]
    except SipParseError as error:
        raise Rejected(error.status, error.reason) from error
    return next((one for one in found if one is not None and one.realm == realm), None)


def _is_for(digest_uri: str, request: SipRequest) -> bool:
    """Tell whether the credentials' URI has the user part of the Request-URI (RFC 3261 §22.4, item 6).

    Hosts are not compared, because a proxy on the way writes its next hop there. Clients that leave the user
    part out (SIPp) are common; the nonce limits what their credentials are good for.
    """
    try:
        uri = parse_uri(digest_uri)
    except SipParseError:
        return False
    if isinstance(uri, SipUri) and isinstance(request.uri, SipUri):
        return uri.user_text in ("", request.uri.user_text)
    return uri == request.uri
