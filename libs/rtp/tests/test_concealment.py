"""Lost packets are concealed by voice that fades, or by comfort noise."""

import numpy as np
import pytest

from sipgw.rtp.jitter_buffer import JitterBuffer
from sipgw.rtp.kernels import g711, placement
from sipgw.rtp.kernels.columns import new_calls

FRAME = 160
ROW = np.array([0])
LAWS = {"mulaw": g711.MULAW_SILENCE, "alaw": g711.ALAW_SILENCE}


def tone(hz, count, peak=8000):
    return peak * np.sin(2 * np.pi * hz * np.arange(count) / 8000)


def heard(samples, lost, silence=g711.MULAW_SILENCE):
    """Return the samples, and the flag of each frame, when the frames `lost` are lost."""
    buffer = JitterBuffer(new_calls(1))
    buffer.open(0, silence=silence, now_s=0.0)
    codes = np.array([g711.encode(int(each), silence) for each in samples], np.uint8).reshape(-1, FRAME)
    out, flags = [], []
    for n, payload in enumerate(codes):
        if n not in lost:
            buffer.write(ROW, np.array([[n, n * FRAME, 0]]), payload[None], n / 50)
        frame, concealed = buffer.take(ROW, FRAME, n / 50)
        out += [g711.decode(int(code), silence) for code in frame[0]]
        flags.append(bool(concealed[0]))
    return np.array(out), flags


def level(samples):
    return float(np.sqrt(np.mean(np.asarray(samples, np.float64) ** 2)))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("hz", [80, 125, 190, 440, 1000])
def test_a_lost_frame_of_a_voice_is_heard_without_a_step(law, hz):
    samples = tone(hz, 20 * FRAME)
    out, flags = heard(samples, {10}, LAWS[law])
    assert flags == [n == 10 for n in range(20)]
    steepest = np.abs(np.diff(samples)).max()
    assert np.abs(np.diff(out)).max() < 1.3 * steepest + 600  # 600: rounding by the law
    assert level(out[10 * FRAME : 11 * FRAME]) > 0.7 * level(samples)


def test_a_voice_goes_on_in_its_own_pitch():
    samples = tone(125, 20 * FRAME)
    out, _ = heard(samples, {10})
    concealed, meant = out[10 * FRAME : 10 * FRAME + 80], samples[10 * FRAME : 10 * FRAME + 80]
    assert level(concealed - meant) < 0.2 * level(meant)


def test_what_is_concealed_fades_and_is_silent_after_60_ms():
    samples = tone(150, 30 * FRAME)
    out, flags = heard(samples, set(range(10, 20)))
    levels = [level(out[10 * FRAME + at : 10 * FRAME + at + 80]) for at in range(0, 10 * FRAME, 80)]
    assert levels[:6] == sorted(levels[:6], reverse=True)
    assert levels[6:] == [0.0] * 14
    assert flags[10:20] == [True] * 10


def test_noise_does_not_buzz():
    """Audio concealed from noise has no dominant period."""
    samples = np.random.default_rng(4).normal(0, 2000, 20 * FRAME)
    out, _ = heard(samples, {10, 11})
    hole = out[10 * FRAME : 11 * FRAME + 80].astype(np.float64)
    hole -= hole.mean()
    likeness = [hole[lag:] @ hole[:-lag] / (hole @ hole) for lag in range(30, 110)]
    assert max(likeness) < 0.6


def test_what_follows_a_hole_is_faded_in_and_then_exact():
    samples = tone(300, 20 * FRAME)
    whole, _ = heard(samples, set())
    out, _ = heard(samples, {10})
    assert (out[11 * FRAME + 80 :] == whole[11 * FRAME + 80 :]).all()
    assert (out[: 10 * FRAME] == whole[: 10 * FRAME]).all()


def test_before_a_callers_first_audio_there_is_silence():
    buffer = JitterBuffer(new_calls(1))
    buffer.open(0, silence=0xFF, now_s=0.0)
    payload, concealed = buffer.take(ROW, FRAME, 0.0)
    assert (payload == 0xFF).all()
    assert concealed[0]


def test_a_row_used_again_does_not_say_what_the_call_before_said():
    buffer = JitterBuffer(new_calls(1))
    buffer.open(0, silence=0xFF, now_s=0.0)
    buffer.write(ROW, np.array([[1, 1, 0]]), np.full((1, FRAME), 3, np.uint8), 0.0)
    buffer.take(ROW, FRAME, 0.0)
    buffer.open(0, silence=0xFF, now_s=1.0)
    assert (buffer.take(ROW, FRAME, 1.0)[0] == 0xFF).all()


def after_rest(level, frames, *, resumes_at=None):
    """Return frames and flags after a caller's comfort noise; audio arrives again from frame `resumes_at`."""
    buffer = JitterBuffer(new_calls(1))
    buffer.open(0, silence=0xFF, now_s=0.0)
    loud, out, flags = np.full((1, FRAME), 0x10, np.uint8), [], []
    buffer.write(ROW, np.array([[1, 0, 1]]), loud, 0.0)
    buffer.take(ROW, FRAME, 0.0)
    placement.begin_rest(buffer.calls[0]["jitter"], 2, level)
    for n in range(1, frames):
        if resumes_at == n:
            buffer.write(ROW, np.array([[3, n * FRAME, 1]]), loud, n / 50)
        frame, concealed = buffer.take(ROW, FRAME, n / 50)
        out.append(np.array([g711.decode(int(code), 0xFF) for code in frame[0]]))
        flags.append(bool(concealed[0]))
    return out, flags


@pytest.mark.parametrize("level", [40, 55, 70])
def test_a_caller_who_says_that_it_is_silent_is_heard_as_its_noise(level):
    out, flags = after_rest(level, 100)
    assert not any(flags)
    heard_dbov = 20 * np.log10(level_of(out) / 32768)
    assert heard_dbov == pytest.approx(-level, abs=2)


def test_noise_that_would_be_loud_is_not():
    assert 20 * np.log10(level_of(after_rest(0, 100)[0]) / 32768) < -28


def test_a_caller_who_spoke_again_is_not_silent_when_its_packets_are_lost():
    _, flags = after_rest(60, 20, resumes_at=10)
    assert flags == [False] * 10 + [True] * 9


def level_of(frames):
    return level(np.concatenate(frames))
