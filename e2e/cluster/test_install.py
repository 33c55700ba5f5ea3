"""`helm install` with hardly any values gives a gateway that takes calls."""

import re
import shutil
from pathlib import Path

import pytest
from clusterkit.callers import Callers, address_towards
from clusterkit.release import Release
from clusterkit.report import Report
from gatewaykit.pjsip import PjsipClient
from gatewaykit.sipp import run_sipp
from gatewaykit.speech import make_speech, read_wav, share_heard

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400, func_only=True)]


def test_the_first_call_is_echoed_by_the_default_route(
    release: Release, callers: Callers, report: Report
) -> None:
    callers.mark()
    callers.dial(len(release.edges()))
    callers.rest(3)
    findings = callers.findings()
    report.add("first call, by each edge", findings)
    assert findings.lost == 0, findings.why_lost
    assert findings.worst_gap_ms < 1000


async def test_sipp_calls_from_outside(release: Release, report: Report, tmp_path: Path) -> None:
    if shutil.which("sipp") is None:
        pytest.skip("SIPp is not on the PATH (Debian: sip-tester)")
    make_speech(tmp_path / "speech.wav", seed=1)
    edge, host = release.edges()[0], address_towards(release.edges()[0])
    result = await run_sipp("uac_short", edge, tmp_path, host=host, calls=20, rate=5, timeout_s=40)
    report.add("SIPp: short calls", note=f"{result.successful} of 20 succeeded")


@pytest.mark.pjsip
async def test_pjsip_calls_from_outside(release: Release, report: Report, tmp_path: Path) -> None:
    host, port = release.edges()[0]
    wav, recorded = tmp_path / "said.wav", tmp_path / "heard.wav"
    said = make_speech(wav, seed=2)
    async with PjsipClient(host=address_towards(release.edges()[0])) as client:
        client.do("call", uri=f"sip:hello@{host}:{port}", play=str(wav), record=str(recorded))
        await client.expect("state", state="CONFIRMED")
        await client.expect("media", status="active")
        await client.expect("played")
        client.do("stop_recording")
        await client.expect("recorded")
        client.do("hangup")
        await client.expect("state", state="DISCONNECTED")
    share = share_heard(said, read_wav(recorded))
    report.add("PJSIP: a call", note=f"{share:.0%} of what was said came back")
    assert share > 0.6


def test_helm_test_places_a_call_from_within(release: Release, report: Report) -> None:
    said = release.helm("test", release.name, "--logs")  # helm 4.1 and later read it before the pod goes
    assert re.search(r"Phase:\s+Succeeded", said), said
    assert "echo latency" in said
    report.add("helm test", note=next(line for line in said.splitlines() if "echo latency" in line))


def test_the_notes_say_where_to_point_the_trunk(release: Release) -> None:
    """Run each command in the notes."""
    notes = release.helm("get", "notes", release.name)
    commands = [line.strip() for line in notes.splitlines() if line.strip().startswith("kubectl ")]
    assert len(commands) == 4
    said = [release.kubectl.run(*command.split()[1:], timeout_s=200) for command in commands]
    for host, _ in release.edges():
        assert host in said[2], "the edges' addresses"
