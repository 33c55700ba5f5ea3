"""The metrics that a call moves, and those read from the relay's parts."""

import secrets
import time
from dataclasses import fields

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.media_relay.calls import media_reports
from sipgw.media_relay.metrics import COUNTERS, GAUGES, RelayMetrics
from sipgw.rtp.rtcp import ReceiverReport, ReportBlock, SourceDescription, build_rtcp
from sipgw.runtime.telemetry.metrics import reference_table

LOUD, QUIET = bytes([0x10] * 160), bytes([0xFF] * 160)


def value(name, **labels):
    return REGISTRY.get_sample_value(f"sipgw_relay_{name}", labels or None) or 0.0


class Change:
    """How much the samples have grown since this was made."""

    def __init__(self, *names):
        self._before = {name: self._all(name) for name in names}

    @staticmethod
    def _all(name):
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
            if sample.name.startswith(f"sipgw_relay_{name}")
        }

    def of(self, name, suffix, **labels):
        key = (f"sipgw_relay_{name}{suffix}", tuple(sorted(labels.items())))
        return self._all(name).get(key, 0) - self._before[name].get(key, 0)


CALL = ("call_mos", "call_loss_ratio", "call_jitter_seconds", "call_round_trip_seconds")
NAMES = (*CALL, "first_audio_seconds")


def test_a_call_without_loss_is_heard_well(bench):
    change, phone = Change(*NAMES), bench.phone()
    bench.call(phone)
    bench.talk(phone, 120)
    bench.command("call-1", generation=2, release=pb.Release())
    direction = {"direction": "from_caller"}
    assert change.of("call_mos", "_count", **direction) == 1
    assert change.of("call_mos", "_sum", **direction) > 4.3
    assert change.of("call_loss_ratio", "_bucket", le="0.0", **direction) == 1
    assert change.of("call_mos", "_count", direction="to_caller") == 0, "it sent no RTCP"
    assert change.of("first_audio_seconds", "_count") == 1


def test_loss_is_heard(bench):
    change, phone = Change(*NAMES), bench.phone()
    bench.call(phone)
    for _ in range(30):
        bench.talk(phone, 4)
        phone.sequence += 1
        phone.timestamp += 160
    bench.command("call-1", generation=2, release=pb.Release())
    assert change.of("call_loss_ratio", "_sum", direction="from_caller") == pytest.approx(0.2, abs=0.01)
    assert change.of("call_mos", "_sum", direction="from_caller") < 1.8


def test_what_the_caller_hears_is_known_from_its_rtcp(bench):
    change, phone = Change(*NAMES), bench.phone()
    session = bench.call(phone)
    bench.talk(phone, 120)
    block = ReportBlock(
        int(bench.plane.transmitter.ssrc[session.row]),
        fraction_lost=0,
        cumulative_lost=12,
        highest_sequence=100,
        jitter=80,
        last_sender_report=(time.time_ns() // 1_000_000_000 + 2_208_988_800) << 16 & 0xFFFFFFFF,
    )
    packets = [ReceiverReport(1234, (block,)), SourceDescription(1234, secrets.token_hex(4))]
    bench.plane.reports.receive(session.row, build_rtcp(packets))
    bench.command("call-1", generation=2, release=pb.Release())
    assert change.of("call_loss_ratio", "_sum", direction="to_caller") == pytest.approx(0.1, abs=0.01)
    assert change.of("call_jitter_seconds", "_sum", direction="to_caller") == pytest.approx(0.01)
    assert change.of("call_round_trip_seconds", "_count") == 1


def test_a_call_of_a_second_says_nothing_about_quality(bench):
    change, phone = Change(*NAMES), bench.phone()
    bench.call(phone)
    bench.talk(phone, 50)
    bench.command("call-1", generation=2, release=pb.Release())
    assert change.of("call_mos", "_count", direction="from_caller") == 0


def test_the_bots_answer_to_the_caller_is_a_turn_and_a_span(bot_bench, monkeypatch):
    spans = []
    monkeypatch.setattr(media_reports, "record_span", lambda name, *rest: spans.append(name))
    change, phone = Change("bot_response_seconds"), bot_bench.phone()
    session = bot_bench.call(phone, bot="bot:1")
    bot_bench.talk(phone, 25, LOUD)
    bot_bench.talk(phone, 25, QUIET)
    bot_bench.speech.bot_speech(session.handle, LOUD * 10, session.media.wire)
    bot_bench.talk(phone, 5, QUIET)
    assert change.of("bot_response_seconds", "_count") == 1
    assert change.of("bot_response_seconds", "_sum") == pytest.approx(0.5, abs=0.05)
    assert spans.count("turn") == 1


def test_a_key_is_a_span_that_does_not_say_which(bench, monkeypatch):
    spans = []
    monkeypatch.setattr(media_reports, "record_span", lambda *span: spans.append(span))
    session = bench.call(bench.phone())
    bench.plane._listener.digit_ended(session.row, "7", 120)
    (span,) = [span for span in spans if span[0] == "DTMF"]
    assert span[3] - span[2] == 120_000_000
    assert len(span) == 4


def test_the_parts_are_read_when_they_are_scraped(bench):
    registry = CollectorRegistry()
    registry.register(RelayMetrics(bench.relay))
    bench.call(bench.phone())
    read = {sample.name: sample.value for family in registry.collect() for sample in family.samples}
    assert read["sipgw_relay_calls"] == 1
    assert (read["sipgw_relay_ports_free"], read["sipgw_relay_capacity_units"]) == (3, 4)
    assert read["sipgw_relay_draining"] == 0
    bench.relay.set_draining(True)
    assert registry.get_sample_value("sipgw_relay_draining") == 1
    assert registry.get_sample_value("sipgw_relay_full") == 0
    assert registry.get_sample_value("sipgw_relay_late") == 0
    assert len(read) == len(GAUGES) + len(COUNTERS)


def test_each_counter_of_the_bot_streams_is_shown(bench):
    counters, registry = bench.relay.bridge.counters, CollectorRegistry()
    registry.register(RelayMetrics(bench.relay))
    numbers = {field.name: 1000 + n for n, field in enumerate(fields(counters))}
    for name, number in numbers.items():
        setattr(counters, name, number)
    bench.relay.events.dropped = 7
    read = {sample.name: sample.value for family in registry.collect() for sample in family.samples}
    assert set(numbers.values()) <= set(read.values())
    assert read["sipgw_relay_bot_audio_malformed_total"] == numbers["audio_malformed"]
    assert read["sipgw_relay_media_events_dropped_total"] == 7


def test_without_parts_it_describes_the_same_instruments(bench):
    registry, described = CollectorRegistry(), CollectorRegistry()
    registry.register(RelayMetrics(bench.relay))
    described.register(RelayMetrics())
    assert reference_table(registry, "sipgw_relay_") == reference_table(described, "sipgw_relay_")
