"""A trunk that authenticates by password: `sipgw up` with a Secret, SIPp, PJSIP and `sipgw call`."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from gatewaykit.foreign import needs_pjsip, needs_sipp
from gatewaykit.pjsip import PjsipClient
from gatewaykit.sipp import run_sipp
from gatewaykit.up import Up

from sipgw.siptest import Login, SipPhone

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

PASSWORD = "correct horse"
DOCUMENTS = f"""\
apiVersion: sipgw.io/v1alpha1
kind: SipTrunk
metadata: {{name: office}}
spec: {{auth: {{digest: {{username: alice, secretRef: {{name: office}}}}}}}}
---
apiVersion: sipgw.io/v1alpha1
kind: SipTrunk
metadata: {{name: old}}
spec: {{auth: {{digest: {{username: sipp, algorithms: [MD5], secretRef: {{name: office}}}}}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: office}}
stringData: {{password: {PASSWORD}}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    """One gateway for all tests of the file, which leave it as it was."""
    directory = tmp_path_factory.mktemp("login")
    (directory / "gateway.yaml").write_text(DOCUMENTS, "utf-8")
    up = Up(directory)
    await up.start("-f", str(directory / "gateway.yaml"), "--edges", "2")
    yield up
    await up.aclose()
    logs = [path.read_text("utf-8") for path in (directory / "state").rglob("*.log")]
    assert any("call_answered" in log for log in logs)
    assert not any(PASSWORD in log or "response=" in log for log in logs)


def uri(up: Up, edge: int = 0) -> str:
    host, port = up.sip[edge]
    return f"sip:echo@{host}:{port}"


@needs_sipp
@pytest.mark.sipp
async def test_sipp_logs_in(up: Up, tmp_path: Path) -> None:
    """SIPp 3.6 reads only the first challenge, and only MD5, so its trunk allows just that."""
    right = ("-au", "sipp", "-ap", PASSWORD)
    result = await run_sipp("uac_login", up.sip[0], tmp_path, calls=5, rate=10, options=right)
    assert result.failed == 0
    with pytest.raises(AssertionError, match="403"):
        await run_sipp("uac_login", up.sip[0], tmp_path, options=("-au", "sipp", "-ap", "wrong"))


@needs_pjsip
@pytest.mark.pjsip
async def test_pjsip_logs_in(up: Up) -> None:
    async with PjsipClient(login=("alice", PASSWORD)) as client:
        client.do("call", uri=uri(up))
        await client.expect("state", state="CONFIRMED")
        client.do("hangup")
        await client.expect("state", state="DISCONNECTED", status=200)
    async with PjsipClient(login=("alice", "wrong")) as client:
        client.do("call", uri=uri(up))
        await client.expect("state", state="DISCONNECTED", status=403)


async def sipgw_call(up: Up, *arguments: str) -> str:
    """Run `sipgw call`; return what failed, "" when nothing did."""
    status, said = await up.command("call", uri(up), *arguments, "--duration", "1", "--json")
    failure = json.loads(said)["failure"] or ""
    assert (status == 0) == (failure == "")
    return failure


async def test_sipgw_call_logs_in(up: Up) -> None:
    assert "401" in await sipgw_call(up)
    assert "403" in await sipgw_call(up, "--user", "alice", "--password", "wrong")
    up.environment["SIPGW_PASSWORD"] = PASSWORD
    assert await sipgw_call(up, "--user", "alice") == ""
    del up.environment["SIPGW_PASSWORD"]


async def test_one_edge_asks_and_the_other_checks(up: Up) -> None:
    """The INVITE with credentials goes to the other edge, as through a load balancer."""
    async with await SipPhone.open(user="alice") as alice:
        call = alice.invite(uri(up, 0), login=Login("alice", PASSWORD))
        call.destination = up.sip[1]
        await call.answered()
        await call.hangup()
        asked = [one.peer for one in alice.messages if one.is_sent and one.first_line.startswith("INVITE")]
        assert asked == [up.sip[0], up.sip[1]]
