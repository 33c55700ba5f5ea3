import numpy as np
import pytest
import soxr

from sipgw.audio.resample import PolyphaseResampler, resample_clip

RATES = [
    (8000, 16000),
    (16000, 8000),
    (8000, 24000),
    (24000, 8000),
    (8000, 48000),
    (48000, 8000),
    (16000, 24000),
]


def sine(frequency_hz: float, rate_hz: int, seconds: float = 0.5, amplitude: float = 12_000) -> np.ndarray:
    at = np.arange(int(rate_hz * seconds))
    return np.rint(amplitude * np.sin(2 * np.pi * frequency_hz * at / rate_hz)).astype(np.int16)


def error_db(heard: np.ndarray, wanted: np.ndarray) -> float:
    """Return the error of `heard` against `wanted` in dB, away from both ends."""
    middle = slice(400, min(len(heard), len(wanted)) - 400)
    difference = heard[middle].astype(float) - wanted[middle].astype(float)
    return 10 * np.log10(np.mean(difference**2) / np.mean(wanted[middle].astype(float) ** 2))


def differ_by_rounding(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether both differ by one at most, as sums of products in another order may."""
    return bool(np.abs(one.astype(int) - other.astype(int)).max() <= 1)


def live(pcm: np.ndarray, from_hz: int, to_hz: int, frame_ms: int = 20) -> np.ndarray:
    resampler = PolyphaseResampler(3, from_hz, to_hz)
    step = from_hz * frame_ms // 1000
    frames = [
        resampler.process(np.array([1]), pcm[np.newaxis, at : at + step]) for at in range(0, len(pcm), step)
    ]
    return np.concatenate(frames, axis=1)[0]


@pytest.mark.parametrize(("from_hz", "to_hz"), [*RATES, (44100, 8000), (22050, 8000), (8000, 44100)])
@pytest.mark.parametrize("frequency_hz", [300, 1004, 3300])
def test_a_sine_is_the_same_sine_at_the_other_rate(from_hz: int, to_hz: int, frequency_hz: float):
    heard = resample_clip(sine(frequency_hz, from_hz), from_hz, to_hz)
    wanted = sine(frequency_hz, to_hz)
    assert len(heard) == len(wanted)
    assert error_db(heard, wanted) < -60


@pytest.mark.parametrize(
    ("from_hz", "frequency_hz"), [(16000, 4600), (16000, 7000), (24000, 8500), (48000, 20000)]
)
def test_what_the_lower_rate_can_not_carry_is_taken_out(from_hz: int, frequency_hz: float):
    heard = resample_clip(sine(frequency_hz, from_hz), from_hz, 8000)
    assert np.abs(heard[200:-200].astype(int)).max() < 12


@pytest.mark.parametrize("to_hz", [16000, 24000, 48000])
def test_no_image_appears_above_the_old_band(to_hz: int):
    heard = resample_clip(sine(3000, 8000), 8000, to_hz).astype(float)[400:-400]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    images = spectrum[int(len(spectrum) * 4600 / (to_hz / 2)) :]
    assert images.max() < spectrum.max() * 1e-3


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_frames_one_by_one_are_the_clip_with_the_filters_delay(from_hz: int, to_hz: int):
    pcm = np.random.default_rng(5).integers(-9000, 9000, from_hz // 5).astype(np.int16)
    clip, stream = resample_clip(pcm, from_hz, to_hz), live(pcm, from_hz, to_hz)
    delay = 16 * to_hz // min(from_hz, to_hz)
    assert len(stream) == len(pcm) * to_hz // from_hz
    assert differ_by_rounding(stream[delay:], clip[: len(stream) - delay])


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_frame_length_makes_no_difference(from_hz: int, to_hz: int):
    pcm = np.random.default_rng(6).integers(-9000, 9000, from_hz // 5).astype(np.int16)
    frames = [live(pcm, from_hz, to_hz, frame_ms) for frame_ms in (1, 10, 20, 40)]
    for other in frames[1:]:
        assert differ_by_rounding(other, frames[0])


def test_each_row_has_its_own_history():
    chance = np.random.default_rng(7)
    calls = chance.integers(-9000, 9000, (4, 1600)).astype(np.int16)
    table = PolyphaseResampler(9, 8000, 16000)
    heard: list[list[np.ndarray]] = [[] for _ in calls]
    position = [0] * len(calls)
    while any(at < 1600 for at in position):
        some = [int(call) for call in chance.permutation(4) if position[call] < 1600][: chance.integers(1, 5)]
        frames = np.stack([calls[call, position[call] : position[call] + 160] for call in some])
        for call, frame in zip(some, table.process(np.array(some) * 2 + 1, frames), strict=True):
            heard[call].append(frame)
            position[call] += 160
    for call, pcm in enumerate(calls):
        alone = live(pcm, 8000, 16000)
        assert differ_by_rounding(np.concatenate(heard[call]), alone)


def test_a_reset_row_remembers_nothing():
    resampler = PolyphaseResampler(2, 8000, 16000)
    row, loud, silent = np.array([0]), np.full((1, 160), 30_000, np.int16), np.zeros((1, 160), np.int16)
    resampler.process(row, loud)
    assert resampler.process(row, silent).any()
    resampler.process(row, loud)
    resampler.reset(0)
    assert not resampler.process(row, silent).any()


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_a_constant_stays_the_constant(from_hz: int, to_hz: int):
    heard = resample_clip(np.full(from_hz // 10, 10_000, np.int16), from_hz, to_hz)
    assert np.abs(heard[200:-200].astype(int) - 10_000).max() <= 1


def test_full_scale_is_clipped_and_does_not_wrap():
    square = np.tile(np.repeat(np.array([32767, -32768], np.int16), 20), 50)
    heard = resample_clip(square, 8000, 16000)
    same_sign = np.sign(heard[100:-100:2].astype(int)) == np.sign(square[50:-50].astype(int))
    assert same_sign.mean() > 0.9
    assert heard.max() == 32767


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8000, 16000), (24000, 8000), (44100, 8000)])
def test_speech_band_noise_agrees_with_soxr(from_hz: int, to_hz: int):
    spectrum = np.zeros(from_hz // 2 + 1, complex)
    spectrum[300:3301] = np.exp(2j * np.pi * np.random.default_rng(8).random(3001))
    noise = np.fft.irfft(spectrum)
    pcm = np.rint(noise / np.abs(noise).max() * 20_000).astype(np.int16)
    theirs = soxr.resample(pcm, from_hz, to_hz, quality="VHQ")
    assert error_db(resample_clip(pcm, from_hz, to_hz), theirs) < -55


def test_equal_rates_pass_through():
    pcm = sine(440, 8000)
    assert resample_clip(pcm, 8000, 8000) is pcm
    assert PolyphaseResampler(1, 8000, 8000).process(np.array([0]), pcm[np.newaxis]).base is pcm


@pytest.mark.parametrize("length", [0, 1, 2, 7, 159])
def test_clips_of_any_length(length: int):
    assert len(resample_clip(np.ones(length, np.int16), 8000, 16000)) == 2 * length
    assert len(resample_clip(np.ones(length, np.int16), 44100, 8000)) == -(-length * 80 // 441)


def test_what_can_not_be_done_is_refused():
    with pytest.raises(ValueError, match="not a multiple of 3"):
        PolyphaseResampler(1, 24000, 8000).process(np.array([0]), np.zeros((1, 160), np.int16))
    with pytest.raises(ValueError, match="at most 1000"):
        resample_clip(np.zeros(10, np.int16), 44101, 8000)
    with pytest.raises(ValueError, match="positive"):
        PolyphaseResampler(1, 0, 8000)
