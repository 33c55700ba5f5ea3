"""`sipgw up` as a person uses it: real processes, real calls; the other commands are in test_commands.py."""

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
from gatewaykit.callers import answered, heard_back, outcome, speak_until_echoed, uri_of
from gatewaykit.up import Up

from sipgw.runtime.patience import patient
from sipgw.siptest import CallPhase, EndedBy, SipPhone, speech_like

pytestmark = pytest.mark.system


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    up = Up(tmp_path)
    yield up
    await up.aclose()


@pytest.fixture
async def alice() -> AsyncIterator[SipPhone]:
    async with await SipPhone.open(user="alice") as phone:
        yield phone


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
    calls = [await answered(alice, uri_of(up.sip[0])) for _ in range(3)]
    ending = asyncio.gather(*(call.ended(patient(15)) for call in calls))
    assert await up.stop() == 0
    assert {end.by for end in await ending} == {EndedBy.PEER}
    assert up.living == []


async def test_ctrl_c_in_the_terminal_ends_it_in_order_too(up: Up, alice: SipPhone) -> None:
    await up.start()
    call = await answered(alice, uri_of(up.sip[0]))
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
    call = await answered(alice, uri_of(up.sip[0]))
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
    call = await answered(alice, uri_of(up.sip[0]), audio=speech_like(0.5))
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
    on_first, on_second = [await answered(alice, uri_of(address)) for address in up.sip]
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
    calls = [await answered(alice, uri_of(address)) for address in up.sip]  # on the relay that is left
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
    call = await answered(alice, uri_of(("127.0.0.1", int(match[1]))))
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
    call = await answered(alice, uri_of(up.sip[0]), audio=speech_like(14))
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
    assert "no relay relay-9 is alive" in said
    await call.hangup()
    names = sorted(path.name for path in (up.directory / "state").rglob("*.wav"))
    assert len(names) == 3, names
    assert [name.count(".") for name in names].count(1) == 1, f"a part for each relay: {names}"
