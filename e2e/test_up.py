"""`sipgw up` and the other commands, as a person uses them: real processes, real calls."""

import asyncio
import json
import os
import pty
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gatewaykit.speech import make_speech, share_heard
from gatewaykit.up import Up

from sipgw.audio.wav import read_wav
from sipgw.runtime.patience import patient
from sipgw.siptest import CallPhase, EndedBy, PhoneCall, SipPhone, echo_latency, speech_like

pytestmark = pytest.mark.system


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    up = Up(tmp_path)
    yield up
    await up.aclose()


@pytest.fixture
async def watch(up: Up) -> AsyncIterator[Up]:
    """Start another command of the same user that keeps running."""
    watch = Up(up.directory)
    yield watch
    await watch.aclose()


@pytest.fixture
async def alice() -> AsyncIterator[SipPhone]:
    async with await SipPhone.open(user="alice") as phone:
        yield phone


async def heard_back(call: PhoneCall, packets: int = 10) -> None:
    await call.changes.until(lambda: len(call.received.packets) >= packets, patient(10), "audio back")


async def outcome(call: PhoneCall) -> CallPhase:
    await call.changes.until(lambda: call.is_answered or call.has_ended, patient(10), "final answer")
    return call.phase


def uri_of(address: tuple[str, int]) -> str:
    return f"sip:echo@{address[0]}:{address[1]}"


async def speak_until_echoed(alice: SipPhone, uri: str, keys: str = "") -> list[PhoneCall]:
    """Call and speak until the speech comes back; return the calls that it took, the last of them echoed.

    A second call is made only if the machine was too busy for the first: frames that this phone sends late,
    or the gateway plays late, are skipped, and a relay whose ticks come late takes no call.
    """
    calls: list[PhoneCall] = []
    while True:
        call = alice.invite(uri, audio=speech_like(1.5))
        if await outcome(call) is not CallPhase.ANSWERED:
            assert patient(1.0) > 1.0, f"refused on a quiet machine: {call.final_response}"
            await asyncio.sleep(1)
            continue
        calls.append(call)
        if keys:
            await call.send_dtmf(keys)
        await call.played()
        await asyncio.sleep(0.3)
        await call.hangup()
        latency = echo_latency(call.media)
        if latency is not None and latency.found >= 0.8 * latency.expected:
            return calls
        assert len(calls) < 10, f"only {latency} came back"
        assert patient(1.0) > 1.0 or call.statistics().worst_own_clock_ms > 10, (
            f"{latency} on a quiet machine"
        )


async def test_a_call_is_echoed_and_sigterm_leaves_no_process(up: Up, alice: SipPhone) -> None:
    await up.start()
    calls = await speak_until_echoed(alice, uri_of(up.sip[0]), keys="42")
    assert sum(call.statistics().packets_lost for call in calls) == 0
    pressed = [line.split()[-1] for line in up.lines if " digit " in line]
    assert pressed == ["4", "2"] * len(calls)
    assert up.living
    assert await up.stop() == 0
    assert up.living == []
    assert sum(line.startswith("ready") for line in up.lines) == 1


async def test_at_its_own_address_a_caller_on_this_machine_hears_itself_from_where_the_sdp_says(
    up: Up, alice: SipPhone
) -> None:
    await up.start(advertise=None)
    for call in await speak_until_echoed(alice, uri_of(("127.0.0.1", up.sip[0][1]))):
        media = call.media.current
        assert media is not None
        assert media.remote_address == up.sip[0][0]
        sources = {packet.source for packet in call.received.packets}
        assert sources == {(media.remote_address, media.remote_rtp_port)}


async def test_every_caller_gets_a_bye_at_sigterm(up: Up, alice: SipPhone) -> None:
    await up.start()
    calls = [await alice.call(uri_of(up.sip[0])) for _ in range(3)]
    ending = asyncio.gather(*(call.ended(patient(15)) for call in calls))
    assert await up.stop() == 0
    assert {end.by for end in await ending} == {EndedBy.PEER}
    assert up.living == []


async def test_ctrl_c_in_the_terminal_ends_it_in_order_too(up: Up, alice: SipPhone) -> None:
    await up.start()
    call = await alice.call(uri_of(up.sip[0]))
    ending = asyncio.create_task(call.ended(patient(15)))
    assert await up.stop(signal.SIGINT) == 0
    assert (await ending).by is EndedBy.PEER
    assert up.lines[-1] == "stopped"
    assert up.living == []


async def test_a_signal_before_it_is_ready_ends_what_has_started(up: Up) -> None:
    await up.run("up", "--sip-port=0")
    await up.line("starting")
    assert await up.stop() == 0
    assert up.lines[-1] == "stopped"
    assert not any(line.startswith("ready") for line in up.lines)


async def test_killing_it_leaves_no_process_and_callers_get_their_bye(up: Up, alice: SipPhone) -> None:
    await up.start()
    call = await alice.call(uri_of(up.sip[0]))
    await up.stop(signal.SIGKILL)  # returns when no process has its standard output any more
    await up.guard_gone()
    assert (await call.ended(patient(15))).by is EndedBy.PEER
    assert up.living == []


async def test_a_taken_sip_port_names_the_process_that_has_it(up: Up) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        status, output = await up.command("up", f"--sip-port={port}")
    assert status == 2
    assert f"UDP port {port} is taken by process {os.getpid()}" in output
    assert "--sip-port" in output
    assert "Traceback" not in output


async def test_a_wrong_file_names_file_line_field_and_what_is_allowed(up: Up, tmp_path: Path) -> None:
    wrong = tmp_path / "gateway.yaml"
    wrong.write_text(
        "apiVersion: sipgw.io/v1alpha1\nkind: BotRoute\nmetadata: {name: x}\n"
        'spec:\n  bots: [{endpoint: "a:1"}]\n  answer: soon\n'
    )
    status, output = await up.command("up", "-f", str(wrong))
    assert status == 2
    assert re.search(r"gateway\.yaml:6: spec\.answer: found 'soon'; allowed: .*bot-ready", output)
    assert "Traceback" not in output
    assert (await up.command("up", "-f", "/no/such.yaml"))[0] == 2


async def test_routes_of_a_file_decide_where_calls_go(up: Up, alice: SipPhone, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        """
apiVersion: sipgw.io/v1alpha1
kind: BotRoute
metadata: {name: echo}
spec:
  match: {to: {prefix: echo}}
  bots: [{endpoint: "builtin:echo"}]
"""
    )
    await up.start("-f", str(file))
    call = await alice.call(uri_of(up.sip[0]), audio=speech_like(0.5))
    await heard_back(call)
    await call.hangup()
    refused = alice.invite(f"sip:nobody@127.0.0.1:{up.sip[0][1]}")
    assert (await refused.ended(patient(10))).by is EndedBy.REFUSED


async def test_two_edges_and_two_relays_share_the_calls_and_a_killed_relay_comes_back(
    up: Up, alice: SipPhone
) -> None:
    rtp_ports = up.take_rtp_ports()
    await up.start("--edges=2", "--relays=2", rtp_ports=rtp_ports)
    assert len(up.sip) == 2
    on_first, on_second = [await alice.call(uri_of(address)) for address in up.sip]
    await heard_back(on_first)
    await heard_back(on_second)
    ports = {call.media.current.remote_rtp_port for call in (on_first, on_second) if call.media.current}
    low, high = map(int, rtp_ports.split("-"))
    assert all(low <= port <= high for port in ports)
    on_first.destination = up.sip[1]  # the rest of the first call at the other edge
    await on_first.hangup()
    await on_second.hangup()

    relays = up.services("sipgw.media_relay")
    assert len(relays) == 2
    relays[0].kill()
    told = await up.line_with("was killed by SIGKILL")
    assert "starting it again" in told
    calls = [await alice.call(uri_of(address)) for address in up.sip]  # on the relay that is left
    for call in calls:
        await heard_back(call)
        await call.hangup()
    await up.line(told.split()[0] + " runs again")


async def test_after_redis_and_registry_have_died_calls_come_again(up: Up, alice: SipPhone) -> None:
    await up.start()
    for module, name in (("redis-server", "redis"), ("sipgw.registry", "registry")):
        up.services(module)[0].kill()
        await up.line(f"{name} runs again")
    async with asyncio.timeout(patient(30)):
        while (call := alice.invite(uri_of(up.sip[0]))) and (await outcome(call)) is not CallPhase.ANSWERED:
            pass
    await heard_back(call)
    await call.hangup()


async def test_calls_and_hangup_find_the_running_gateway(up: Up, alice: SipPhone) -> None:
    assert (await up.command("calls"))[0] == 2
    await up.start()
    assert await up.command("calls") == (0, "no calls\n")
    call = await alice.call(uri_of(up.sip[0]))
    status, output = await up.command("calls", "--json")
    listed = json.loads(output)
    assert (status, listed["to"]) == (0, "echo")
    status, output = await up.command("hangup", listed["call_id"][:8])
    assert (status, output) == (0, f"ended {listed['call_id']}\n")
    assert (await call.ended(patient(10))).by is EndedBy.PEER
    assert (await up.command("hangup", "ffffffff"))[0] == 1


async def test_the_call_command_reports_in_words_and_in_json(up: Up) -> None:
    await up.start()
    uri = uri_of(up.sip[0])
    status, output = await up.command("call", uri, "--dtmf", "1", "--duration", "1.2")
    assert status == 0, output
    assert "echo latency p50" in output
    status, output = await up.command(
        "call", uri, "--calls", "5", "--rate", "10", "--duration", "0.8", "--json"
    )
    result = json.loads(output)
    assert status == 0, output
    assert result["summary"]["calls"] == 5
    assert result["summary"]["failures"] == {}


async def test_the_call_command_says_what_the_wav_says(up: Up, tmp_path: Path) -> None:
    said = make_speech(tmp_path / "said.wav", seed=7, seconds=2.0)
    await up.start()
    status, output = await up.command("call", uri_of(up.sip[0]), "--wav", str(tmp_path / "said.wav"))
    assert status == 0, output
    assert await up.stop() == 0  # recordings are whole
    (recording,) = (up.directory / "state").rglob("*.wav")
    with recording.open("rb") as file:
        caller, _ = read_wav(file).samples
    assert share_heard(said, caller) >= 0.7


async def test_calls_watch_tells_each_change_of_a_call_until_ctrl_c(
    up: Up, watch: Up, alice: SipPhone
) -> None:
    await up.start()
    call = await alice.call(uri_of(up.sip[0]))
    call_id = json.loads((await up.command("calls", "--json"))[1])["call_id"]
    await watch.run("calls", "--watch")
    await watch.line(f"call {call_id} established alice -> echo")
    await call.hangup()
    await watch.line(f"call {call_id} ended (caller hangup")
    assert await watch.stop(signal.SIGINT) == 0


async def test_on_a_terminal_there_is_a_live_table(up: Up, alice: SipPhone) -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "sipgw.cli",
            "up",
            "--sip-port=0",
            "--advertise=127.0.0.1",
            f"--rtp-ports={up.take_rtp_ports()}",
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=up.environment | {"COLUMNS": "160", "TERM": "xterm"},
    )
    os.close(theirs)
    screen = Screen(ours)
    match = await screen.shows(r"ready sip:127\.0\.0\.1:(\d+) ")
    call = await alice.call(uri_of(("127.0.0.1", int(match[1]))))
    await screen.shows("alice.*established")
    await call.hangup()
    process.terminate()
    assert await asyncio.wait_for(process.wait(), patient(30)) == 0
    screen.close()


class Screen:
    """The screen of a terminal that a command writes to."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._text = ""
        self._more = asyncio.Event()
        os.set_blocking(terminal, False)
        asyncio.get_running_loop().add_reader(terminal, self._read)

    async def shows(self, pattern: str) -> re.Match[str]:
        async with asyncio.timeout(patient(30)):
            while not (match := re.search(pattern, self._text)):
                self._more.clear()
                await self._more.wait()
            return match

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._terminal)
        os.close(self._terminal)

    def _read(self) -> None:
        try:
            self._text += os.read(self._terminal, 65536).decode(errors="replace")
        except OSError:
            asyncio.get_running_loop().remove_reader(self._terminal)
        self._more.set()


async def test_a_drained_relay_and_a_killed_one_cost_a_call_nothing_but_a_moment(
    up: Up, alice: SipPhone
) -> None:
    await up.start("--relays=2")
    call = await alice.call(uri_of(up.sip[0]), audio=speech_like(14))
    await heard_back(call)
    code, table = await up.command("relays")
    assert code == 0, table
    assert re.search(r"relay-0 .*ready .* 1 ", table), table
    code, said = await up.command("drain", "relay-0", "--wait", "30")
    assert (code, said.strip()) == (0, "relay-0 has no calls")
    drained_ms = call.received.longest_gap_ms
    code, listed = await up.command("relays", "--json")
    states = {
        r["registration"]["relay"]["name"]: (r["state"], r["calls"])
        for r in map(json.loads, listed.splitlines())
    }
    assert states == {"relay-0": ("draining", 0), "relay-1": ("ready", 1)}
    assert (await up.command("drain", "relay-0", "--undo"))[1].strip() == "relay-0 takes calls again"
    (relay_1,) = [p for p in up.services("media_relay") if "relay-1" in p.cmdline()]
    relay_1.kill()
    await call.changes.until(
        lambda: len([r for r in call.requests if r.method == "INVITE"]) == 2, patient(10), "re-INVITE"
    )
    before = len(call.received.packets)
    await call.changes.until(lambda: len(call.received.packets) > before + 20, patient(10), "audio back")
    print(f"gap by the drain {drained_ms:.0f} ms, by the death {call.received.longest_gap_ms:.0f} ms")
    assert drained_ms < patient(500)
    assert call.received.longest_gap_ms < patient(2000)
    code, said = await up.command("drain", "relay-9")
    assert code == 1
    assert "no relay relay-9 lives" in said
    await call.hangup()
    names = sorted(path.name for path in (up.directory / "state").rglob("*.wav"))
    assert len(names) == 3, names
    assert [name.count(".") for name in names].count(1) == 1, f"a part for each relay: {names}"
