import io
import struct
import wave

import numpy as np
import pytest

from sipgw.audio.errors import WavError
from sipgw.audio.g711 import alaw_decode, mulaw_decode
from sipgw.audio.wav import WavWriter, read_wav

STEREO = np.arange(-400, 400, dtype=np.int16).reshape(2, 400) * 50


def wav_of(
    tag: int, bits: int, data: bytes, *, channels: int = 1, before: bytes = b"", extra: bytes = b""
) -> io.BytesIO:
    align = channels * bits // 8
    chunk = struct.pack("<HHIIHH", tag, channels, 8000, 8000 * align, align, bits) + extra
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", len(chunk)) + chunk
    return io.BytesIO(
        b"RIFF" + struct.pack("<I", len(body)) + body + b"data" + struct.pack("<I", len(data)) + data
    )


def written(*parts: np.ndarray, rate_hz: int = 8000) -> io.BytesIO:
    file = io.BytesIO()
    writer = WavWriter(file, rate_hz=rate_hz)
    for part in parts:
        writer.write(part)
        writer.flush()
    file.seek(0)
    return file


def test_what_is_written_reads_back():
    clip = read_wav(written(STEREO[:, :150], STEREO[:, 150:], rate_hz=16000))
    assert np.array_equal(clip.samples, STEREO)
    assert clip.rate_hz == 16000


def test_the_standard_library_reads_it_too():
    with wave.open(written(STEREO)) as other:
        assert (other.getnchannels(), other.getsampwidth(), other.getframerate(), other.getnframes()) == (
            2,
            2,
            8000,
            400,
        )
        assert other.readframes(1) == struct.pack("<hh", *STEREO[:, 0])


def test_a_file_without_samples_is_whole():
    clip = read_wav(written())
    assert clip.samples.shape == (2, 0)


def test_after_a_crash_the_file_is_whole_up_to_the_last_flush(tmp_path):
    path = tmp_path / "call.wav"
    with path.open("w+b") as file:
        writer = WavWriter(file, rate_hz=8000)
        writer.write(STEREO[:, :200])
        writer.flush()
        writer.write(STEREO[:, 200:])
        crashed = path.read_bytes()  # the file as other processes find it now
        assert np.array_equal(read_wav(io.BytesIO(crashed)).samples, STEREO[:, :200])
        with wave.open(io.BytesIO(crashed)) as other:
            assert other.getnframes() == 200
        assert writer.frames == 400


@pytest.mark.parametrize("cut", range(0, 900, 37))
def test_writes_that_reached_the_disk_only_in_part_are_no_damage(cut: int):
    """The flushed part is readable, however many of the bytes after the last flush reached the disk."""
    file = written(STEREO[:, :200])
    after = file.getvalue() + STEREO[:, 200:].T.astype("<i2").tobytes()[:cut]
    assert np.array_equal(read_wav(io.BytesIO(after)).samples, STEREO[:, :200])


def test_writing_goes_on_after_a_flush_in_the_right_place():
    file = io.BytesIO(b"kept")
    file.seek(4)
    writer = WavWriter(file, rate_hz=8000)
    for at in range(0, 400, 40):
        writer.write(STEREO[:, at : at + 40])
        if at % 120 == 0:
            writer.flush()
    writer.flush()
    file.seek(4)
    assert np.array_equal(read_wav(file).samples, STEREO)
    assert file.getvalue()[:4] == b"kept"


class Partial(io.BytesIO):
    """A file without a buffer, which takes a part of what it is given, as the system may."""

    def write(self, data):
        return super().write(bytes(data)[:37])


def test_a_file_that_takes_parts_gets_everything():
    file = Partial()
    writer = WavWriter(file, rate_hz=8000)
    writer.write(STEREO[:, :100])
    writer.write_frames(np.ascontiguousarray(STEREO[:, 100:].T))
    writer.flush()
    file.seek(0)
    assert np.array_equal(read_wav(file).samples, STEREO)


def test_samples_of_another_shape_are_refused():
    writer = WavWriter(io.BytesIO(), rate_hz=8000)
    for wrong in (np.zeros(10, np.int16), np.zeros((1, 10), np.int16), np.zeros((10, 2), np.int16)):
        with pytest.raises(ValueError, match="expected"):
            writer.write(wrong)


def test_a_file_at_the_formats_limit_takes_no_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sipgw.audio.wav._MOST_BYTES", 4 * 500 + 3)
    file = io.BytesIO()
    writer = WavWriter(file, rate_hz=8000)
    for _ in range(3):
        assert not writer.is_full or writer.frames == 500
        writer.write(STEREO)
    writer.flush()
    assert writer.is_full
    file.seek(0)
    assert read_wav(file).samples.shape == (2, 500)


CODES = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize(
    ("tag", "bits", "data", "wanted"),
    [
        (1, 8, b"\x00\x80\xff", [-32768, 0, 32512]),
        (1, 16, b"\x01\x00\xff\xff", [1, -1]),
        (1, 24, b"\x99\x01\x00\x99\xff\xff", [1, -1]),
        (1, 32, b"\x99\x99\x01\x00\x99\x99\xff\xff", [1, -1]),
        (3, 32, struct.pack("<5f", 0.5, -1.0, 2.0, float("nan"), 0), [16384, -32768, 32767, 0, 0]),
        (7, 8, CODES.tobytes(), mulaw_decode(CODES).tolist()),
        (6, 8, CODES.tobytes(), alaw_decode(CODES).tolist()),
    ],
)
def test_the_usual_codings_are_read(tag: int, bits: int, data: bytes, wanted: list[int]):
    assert read_wav(wav_of(tag, bits, data)).samples.tolist() == [wanted]


def test_other_chunks_are_passed_over_and_extensible_formats_read():
    odd_chunk = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    extension = struct.pack("<HHI", 22, 16, 3) + struct.pack("<H", 1) + bytes(14)
    file = wav_of(0xFFFE, 16, b"\x01\x00\x02\x00", channels=2, before=odd_chunk, extra=extension)
    assert read_wav(file).samples.tolist() == [[1], [2]]


def test_a_file_cut_off_is_read_as_far_as_it_goes():
    whole = wav_of(1, 16, bytes(1000), channels=2).getvalue()
    assert read_wav(io.BytesIO(whole[:-501])).samples.shape == (2, 124)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a WAV file"),
        (b"RIFFxxxxAVI ", "not a WAV file"),
        (b"RIFF\0\0\0\0WAVE", "no format"),
        (b"RIFF\0\0\0\0WAVEdata\2\0\0\0\1\0", "before their format"),
        (b"RIFF\0\0\0\0WAVEfmt \2\0\0\0\1\0", "a format of 2 bytes"),
        (wav_of(1, 16, b"").getvalue()[:36], "no samples"),
        (wav_of(2, 4, b"\0").getvalue(), "coding 2 of 4 bits"),
        (wav_of(1, 16, b"", channels=0).getvalue(), "0 channels"),
    ],
)
def test_what_is_no_wav_is_refused(data: bytes, why: str):
    with pytest.raises(WavError, match=why):
        read_wav(io.BytesIO(data))
