"""Digest authentication of trunks (RFC 3261 §22), with the challenge and the check at any edge."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_kit.caller import Caller, ack_failure
from edge_kit.edges import TestEdge, gateway_config
from edge_kit.fake_relay import FakeRelay
from sipgw.api.config.v1 import config_pb2 as config
from sipgw.config import SealKey
from sipgw.sip import Challenge, SipRequest, SipResponse, answer_challenges
from sipgw.sip_edge.guard.authentication import WrongPasswords
from sipgw.sip_edge.limits import EdgeLimits, WrongPasswordLimits

KEY = b"k" * 32
PASSWORD = b"correct horse battery staple"
ALGORITHMS = ("SHA-256", "MD5")


@pytest.fixture
def gateway() -> config.GatewayConfig:
    made = gateway_config()
    made.trunks[0].name = "pbx"
    made.trunks[0].digest.username = "alice"
    made.trunks[0].digest.sealed_password = SealKey(KEY).seal(PASSWORD, "trunk pbx digest")
    return made


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "seal.key"
    write_key(path, KEY)
    return path


def write_key(path: Path, key: bytes) -> None:
    path.write_bytes(key)


@pytest.fixture
async def edge(start_edge, key_file: Path) -> TestEdge:
    return await start_edge(seal_key_file=key_file)


class Attempt:
    """A first INVITE, its challenge, and INVITEs that respond to the challenge."""

    def __init__(self, caller: Caller, edge: TestEdge, first: SipRequest, refusal: SipResponse) -> None:
        self.caller, self.edge, self.first, self.refusal = caller, edge, first, refusal

    @classmethod
    async def challenged(cls, caller: Caller, edge: TestEdge, user: str = "alice") -> "Attempt":
        first = caller.invite(from_=f"<sip:{user}@127.0.0.1:{caller.port}>;tag={user}{len(caller.responses)}")
        caller.send(first, edge.sip)
        refusal = await caller.response(first)
        ack_failure(caller, first, refusal, edge.sip)
        assert refusal.status == 401
        return cls(caller, edge, first, refusal)

    @property
    def challenges(self) -> list[Challenge]:
        parsed = [Challenge.parse(line) for line in self.refusal.headers.get_all("WWW-Authenticate")]
        return [one for one in parsed if one is not None]

    def next(
        self,
        *,
        username: str = "alice",
        password: bytes = PASSWORD,
        uri: str = "sip:bot@127.0.0.1",
        algorithm: str = "SHA-256",
        change: Callable[[str], str] = lambda line: line,
        **fields: object,
    ) -> SipRequest:
        lines = [str(one) for one in self.challenges if one.algorithm == algorithm]
        credentials = answer_challenges(
            lines, method="INVITE", uri=uri, username=username, password=password, cnonce="c"
        )
        assert credentials is not None
        headers = (("Authorization", change(str(credentials))),)
        names = {"call_id": self.first.call_id, "from_": self.first.headers.get("From"), "cseq": 2}
        return self.caller.invite(headers=headers, **{**names, **fields})

    async def send(self, request: SipRequest, edge: TestEdge | None = None) -> SipResponse:
        self.caller.send(request, (edge or self.edge).sip)
        final = await self.caller.response(request)
        if final.is_failure:
            ack_failure(self.caller, request, final, (edge or self.edge).sip)
        return final


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_who_knows_the_password_gets_a_call_of_its_trunk(
    edge: TestEdge, caller: Caller, algorithm: str
) -> None:
    attempt = await Attempt.challenged(caller, edge)
    assert [one.algorithm for one in attempt.challenges] == list(ALGORITHMS)
    assert {one.realm for one in attempt.challenges} == {"test"}
    ok = await attempt.send(attempt.next(algorithm=algorithm))
    assert ok.status == 200
    record = edge.app.records.copy_of((ok.to.tag or "")[:32])
    assert record is not None
    assert record.trunk == "pbx"


async def test_an_invite_that_is_challenged_is_no_call(edge: TestEdge, caller: Caller) -> None:
    await Attempt.challenged(caller, edge)
    assert len(edge.app.live) == 0
    assert not list(edge.app.records.owned)


async def test_any_edge_checks_what_another_asked(start_edge, key_file: Path, caller: Caller) -> None:
    one, other = [await start_edge(name, seal_key_file=key_file) for name in ("edge-0", "edge-1")]
    attempt = await Attempt.challenged(caller, one)
    assert (await attempt.send(attempt.next(), other)).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": b"wrong"},
        {"password": b""},
        {"username": "bob"},
        {"uri": "sip:another@127.0.0.1"},
        {"change": lambda line: line.replace('cnonce="c"', 'cnonce="d"')},
    ],
    ids=["password", "empty", "user", "number", "cnonce"],
)
async def test_wrong_credentials_get_403(edge: TestEdge, caller: Caller, wrong) -> None:
    attempt = await Attempt.challenged(caller, edge)
    refusal = await attempt.send(attempt.next(**wrong))
    assert (refusal.status, refusal.reason) == (403, "Wrong Credentials")
    assert len(edge.app.live) == 0


@pytest.mark.parametrize("uri", ["sip:bot@gateway.example", "sip:127.0.0.1:5060"])
async def test_a_host_changed_on_the_way_or_no_number_does_no_harm(
    edge: TestEdge, caller: Caller, uri: str
) -> None:
    attempt = await Attempt.challenged(caller, edge)
    assert (await attempt.send(attempt.next(uri=uri))).status == 200


@pytest.mark.parametrize(
    "other",
    [{"call_id": "other"}, {"from_": "<sip:alice@127.0.0.1>;tag=other"}, {"cseq": 3}, {"cseq": 1}],
    ids=str,
)
async def test_what_was_heard_on_the_wire_makes_no_other_call(edge: TestEdge, caller: Caller, other) -> None:
    """Credentials copied into another INVITE get a new challenge, marked stale for honest clients."""
    attempt = await Attempt.challenged(caller, edge)
    assert (await attempt.send(attempt.next())).status == 200
    refusal = await attempt.send(attempt.next(**other))
    assert refusal.status == 401
    assert all("stale=true" in line for line in refusal.headers.get_all("WWW-Authenticate"))
    assert len(edge.app.live) == 1


async def test_the_same_invite_again_is_the_same_call(
    edge: TestEdge, caller: Caller, relay: FakeRelay
) -> None:
    attempt = await Attempt.challenged(caller, edge)
    request = attempt.next()
    assert (await attempt.send(request)).status == 200
    assert (await attempt.send(attempt.next())).status == 482  # another branch: merged
    assert len(relay.sessions) == 1


async def test_broken_credentials_get_400(edge: TestEdge, caller: Caller) -> None:
    attempt = await Attempt.challenged(caller, edge)
    refusal = await attempt.send(attempt.next(change=lambda line: line.replace("qop=auth, ", "")))
    assert refusal.status == 400


async def test_credentials_for_another_realm_are_passed_over(edge: TestEdge, caller: Caller) -> None:
    attempt = await Attempt.challenged(caller, edge)
    refusal = await attempt.send(attempt.next(change=lambda line: line.replace('"test"', '"other"')))
    assert refusal.status == 401


async def test_a_source_of_a_trunk_is_not_asked(
    start_edge, key_file: Path, caller: Caller, gateway: config.GatewayConfig
) -> None:
    gateway.trunks.add(name="lan", source_cidrs=["127.0.0.0/8"])
    edge = await start_edge(seal_key_file=key_file)
    invite = caller.invite()
    caller.send(invite, edge.sip)
    ok = await caller.response(invite)
    assert ok.status == 200
    record = edge.app.records.copy_of((ok.to.tag or "")[:32])
    assert record is not None
    assert record.trunk == "lan"


async def test_who_guesses_too_often_is_not_listened_to(start_edge, key_file: Path, caller: Caller) -> None:
    limits = EdgeLimits(wrong_passwords=WrongPasswordLimits(count=3))
    edge = await start_edge(seal_key_file=key_file, limits=limits)
    for _ in range(3):
        attempt = await Attempt.challenged(caller, edge)
        assert (await attempt.send(attempt.next(password=b"guess"))).reason == "Wrong Credentials"
    attempt = await Attempt.challenged(caller, edge)
    refusal = await attempt.send(attempt.next())
    assert (refusal.status, refusal.reason) == (403, "Too Many Wrong Passwords")


def test_a_source_is_listened_to_again_after_the_period() -> None:
    wrong = WrongPasswords(WrongPasswordLimits(count=2, period_ms=1000))
    for now_ms in (0, 500):
        assert not wrong.are_too_many("192.0.2.1", now_ms)
        wrong.note("192.0.2.1", now_ms)
    assert wrong.are_too_many("192.0.2.1", 999)
    assert not wrong.are_too_many("192.0.2.2", 999)
    assert not wrong.are_too_many("192.0.2.1", 1000)
    wrong.note("192.0.2.1", 1000)
    assert not wrong.are_too_many("192.0.2.1", 1001)


def test_no_more_sources_are_remembered_than_there_is_room_for() -> None:
    wrong = WrongPasswords(WrongPasswordLimits(count=1))
    for number in range(10_001):
        wrong.note(str(number), 0)
    assert not wrong.are_too_many("0", 0)
    assert wrong.are_too_many("10000", 0)


async def test_without_the_key_nobody_comes_in(start_edge, caller: Caller) -> None:
    edge = await start_edge()
    attempt = await Attempt.challenged(caller, edge)
    refusal = await attempt.send(attempt.next())
    assert (refusal.status, refusal.reason) == (503, "Trunk Password Unreadable")


async def test_a_key_that_changed_is_read_again(
    edge: TestEdge, caller: Caller, key_file: Path, gateway: config.GatewayConfig
) -> None:
    attempt = await Attempt.challenged(caller, edge)
    assert (await attempt.send(attempt.next())).status == 200
    write_key(key_file, b"n" * 32)
    current = edge.app.gateway.current
    assert current is not None
    current.trunks[0].digest.sealed_password = SealKey(b"n" * 32).seal(b"new password", "trunk pbx digest")
    attempt = await Attempt.challenged(caller, edge)
    assert (await attempt.send(attempt.next(password=b"new password"))).status == 200


async def test_no_log_line_has_a_password_or_what_was_made_of_it(
    edge: TestEdge, caller: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    attempt = await Attempt.challenged(caller, edge)
    wrong = attempt.next(password=b"hunter2")
    await attempt.send(wrong)
    attempt = await Attempt.challenged(caller, edge)
    right = attempt.next()
    await attempt.send(right)
    said = "".join(capsys.readouterr())
    assert "wrong_credentials" in said
    for line in (wrong, right):
        response = (line.headers.get("Authorization") or "").partition('response="')[2][:32]
        assert response
        assert response not in said
    assert "hunter2" not in said
    assert PASSWORD.decode() not in said


def offered(attempt: Attempt) -> list[str]:
    return [one.algorithm for one in attempt.challenges]


async def test_a_trunk_is_asked_for_the_algorithms_that_it_has(edge: TestEdge, caller: Caller) -> None:
    current = edge.app.gateway.current
    assert current is not None
    current.trunks.add(name="old").digest.MergeFrom(current.trunks[0].digest)
    current.trunks[1].digest.username = "old"
    current.trunks[1].digest.algorithms.append(config.DIGEST_ALGORITHM_MD5)
    current.trunks[0].digest.algorithms.append(config.DIGEST_ALGORITHM_SHA256)
    assert offered(await Attempt.challenged(caller, edge)) == ["SHA-256"]  # From: alice
    assert offered(await Attempt.challenged(caller, edge, "old")) == ["MD5"]
    attempt = await Attempt.challenged(caller, edge, "somebody")
    assert offered(attempt) == ["SHA-256", "MD5"]
    assert (await attempt.send(attempt.next(algorithm="MD5"))).status == 403  # alice may not
