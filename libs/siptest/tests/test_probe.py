import numpy as np
import pytest

from sipgw.siptest.audio_track import AudioTrack
from sipgw.siptest.probe import EchoLatency, ProbeSignal, echo_latencies, find_signal, summarise
from sipgw.siptest.speech import speech_like


def packets(
    track: AudioTrack, samples: np.ndarray, *, start_s: float, first: int = 0, frame: int = 160
) -> None:
    for i in range(0, len(samples) - frame + 1, frame):
        track.add(start_s + i / 8000, first + i, samples[i : i + frame])


def test_finds_an_exact_copy_at_its_place() -> None:
    speech = speech_like(2.0)
    match = find_signal(speech, speech[5000:7000])
    assert match is not None
    assert match.offset == 5000
    assert match.score == pytest.approx(1.0)


def test_finds_a_quieter_copy_in_noise() -> None:
    speech = speech_like(2.0)
    noisy = (speech * 0.3 + np.random.default_rng(3).normal(0, 150, len(speech))).astype(np.int16)
    match = find_signal(noisy, speech[4000:6000])
    assert match is not None
    assert match.offset == 4000


def test_finds_nothing_in_other_audio_silence_or_too_little() -> None:
    speech = speech_like(1.0)
    assert find_signal(np.zeros(8000, np.int16), speech[800:1600]) is None
    assert find_signal(speech_like(1.0, seed=9), ProbeSignal(1).markers[0]) is None
    assert find_signal(speech[:100], speech[:200]) is None


def test_track_fills_gaps_with_silence_and_tells_the_packet_of_a_sample() -> None:
    track = AudioTrack()
    track.add(1.04, 320, np.full(160, 3, np.int16))
    track.add(1.0, 0, np.full(160, 1, np.int16))
    assert track.samples().tolist() == [1] * 160 + [0] * 160 + [3] * 160
    order = track.in_order()
    assert order.packet_of(159).at_s == 1.0
    assert order.packet_of(200) is None
    assert order.packet_of(479).at_s == 1.04


def test_echo_latency_is_arrival_minus_sending_of_the_packets_that_carried_it() -> None:
    sent, received = AudioTrack(), AudioTrack()
    speech = speech_like(3.0)
    packets(sent, speech, start_s=10.0)
    echo = np.concatenate((np.zeros(480, np.int16), speech))
    packets(received, echo, start_s=9.983)  # 60 ms of silence first: back 43 ms after it left
    summary = summarise(echo_latencies(sent, received))
    assert summary is not None
    assert summary.p50_ms == pytest.approx(43.0, abs=0.01)
    assert summary.p99_ms == pytest.approx(43.0, abs=0.01)
    assert summary.found == summary.expected > 60


def test_a_lost_packet_is_missed_and_a_late_one_is_seen_at_the_99th_percentile() -> None:
    sent, received = AudioTrack(), AudioTrack()
    speech = speech_like(3.0)
    packets(sent, speech, start_s=0.0)
    packets(received, speech, start_s=0.03)
    del received.packets[20]
    late = received.packets[30]
    received.packets[30] = type(late)(late.at_s + 0.1, late.first_sample, late.samples)
    summary = summarise(echo_latencies(sent, received))
    assert summary is not None
    assert summary.found == summary.expected - 1
    assert summary.p50_ms == pytest.approx(30.0, abs=0.01)
    assert summary.max_ms == pytest.approx(130.0, abs=0.01)


def test_no_echo_gives_no_latency() -> None:
    sent, received = AudioTrack(), AudioTrack()
    packets(sent, speech_like(1.0), start_s=0.0)
    packets(received, np.zeros(8000, np.int16), start_s=0.0)
    results = echo_latencies(sent, received)
    assert results
    assert all(r.latency_s is None for r in results)
    assert summarise(results) is None


def test_markers_are_told_apart() -> None:
    probe = ProbeSignal(6, every_ms=300)
    sent, received = AudioTrack(), AudioTrack()
    packets(sent, probe.pcm(), start_s=0.0)
    missing = probe.pcm()
    missing[probe.positions[2] : probe.positions[2] + 480] = 0
    packets(received, missing, start_s=0.5)  # later than the next marker: only its own seed tells
    latencies = probe.latencies(sent, received)
    assert [e.latency_s and round(e.latency_s, 6) for e in latencies] == [
        0.5,
        0.5,
        None,
        0.5,
        0.5,
        0.5,
    ]


def test_summary_counts_what_did_not_come_back() -> None:
    summary = summarise([EchoLatency(0.0, 0.02), EchoLatency(0.02, None)])
    assert summary is not None
    assert (summary.found, summary.expected) == (1, 2)


def test_a_window_that_begins_in_a_pause_is_found_too() -> None:
    sent, received = AudioTrack(), AudioTrack()
    speech = speech_like(2.0)[640:]
    packets(sent, speech, start_s=1.34, first=2720)  # keys were pressed in the first 340 ms
    packets(received, np.concatenate((np.zeros(2720, np.int16), speech)), start_s=1.03)
    results = echo_latencies(sent, received)
    assert {e.latency_s and round(e.latency_s, 3) for e in results} == {0.03}
