"""WAV files: a writer whose file is complete after each flush, and a tolerant reader.

Both take a binary file object; the last axis of the samples is time, the first the channel.
"""

import struct
from typing import BinaryIO, NamedTuple

import numpy as np

from sipgw.audio.errors import WavError
from sipgw.audio.frame import SamplesI16
from sipgw.audio.g711 import alaw_decode, mulaw_decode

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_MOST_BYTES = 0xFFFFFFFF - _HEADER.size
_MOST_CHANNELS = 64


class WavClip(NamedTuple):
    """The samples of a file; ``samples`` has shape (channels, samples)."""

    samples: SamplesI16
    rate_hz: int


class WavWriter:
    """Writes int16 samples. The file is complete after each flush; a crash loses later samples.

    ``file`` is open for writing and seekable, with a buffer or none; the caller closes it, after ``flush``.
    """

    def __init__(self, file: BinaryIO, *, rate_hz: int, channels: int = 2) -> None:
        self._file = file
        self._rate_hz = rate_hz
        self._channels = channels
        self._begin = file.tell()
        self._data_bytes = 0
        self._write(self._header())

    @property
    def frames(self) -> int:
        """The samples of each channel so far."""
        return self._data_bytes // (2 * self._channels)

    @property
    def is_full(self) -> bool:
        """Whether the format's limit of 4 GiB is reached; later samples are dropped."""
        return self._data_bytes >= _MOST_BYTES - 2 * self._channels

    def write(self, samples: SamplesI16) -> None:
        """Append samples, shape (channels, samples)."""
        if samples.ndim != 2 or len(samples) != self._channels:
            raise ValueError(f"samples of shape {samples.shape}, expected ({self._channels}, n)")
        self.write_frames(np.ascontiguousarray(samples.T))

    def write_frames(self, frames: SamplesI16) -> None:
        """Append samples that are interleaved already, shape (n, channels), contiguous; without a copy."""
        room = (_MOST_BYTES - self._data_bytes) // (2 * self._channels)
        data = frames[:room].astype("<i2", copy=False)
        self._write(data.data.cast("B") if data.size else b"")
        self._data_bytes += data.nbytes

    def flush(self) -> None:
        """Write everything to the file: first the samples, then the sizes that count them."""
        self._file.flush()
        self._file.seek(self._begin)
        self._write(self._header())
        self._file.seek(self._begin + _HEADER.size + self._data_bytes)
        self._file.flush()

    def _write(self, data: memoryview | bytes) -> None:
        """Write all of the data: one write to a file without a buffer may take only a part."""
        while len(data):
            data = data[self._file.write(data) :]

    def _header(self) -> bytes:
        frame_bytes = 2 * self._channels
        return _HEADER.pack(
            b"RIFF",
            _HEADER.size - 8 + self._data_bytes,
            b"WAVE",
            b"fmt ",
            16,
            _PCM,
            self._channels,
            self._rate_hz,
            self._rate_hz * frame_bytes,
            frame_bytes,
            16,
            b"data",
            self._data_bytes,
        )


def read_wav(file: BinaryIO) -> WavClip:
    """Return the samples as int16, from PCM, float, µ-law and A-law; read a truncated file as far as it goes.

    Raises WavError.
    """
    riff = file.read(12)
    if len(riff) < 12 or riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        raise WavError("not a WAV file: it does not begin with RIFF....WAVE")
    audio: _Coding | None = None
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"fmt ":
            audio = _Coding.parse(file.read(size + size % 2))
        elif name == b"data":
            if audio is None:
                raise WavError("the samples come before their format")
            return WavClip(audio.decode(file.read(size)), audio.rate_hz)
        else:
            file.read(size + size % 2)
    raise WavError("the file has no samples" if audio else "the file has no format")


class _Coding(NamedTuple):
    tag: int
    channels: int
    rate_hz: int
    bits: int

    @classmethod
    def parse(cls, chunk: bytes) -> "_Coding":
        if len(chunk) < 16:
            raise WavError(f"a format of {len(chunk)} bytes, at least 16 are expected")
        tag, channels, rate_hz, _bytes_per_s, _align, bits = struct.unpack_from("<HHIIHH", chunk)
        if tag == _EXTENSIBLE and len(chunk) >= 26:
            (tag,) = struct.unpack_from("<H", chunk, 24)
        coding = cls(tag, channels, rate_hz, bits)
        if not 1 <= channels <= _MOST_CHANNELS or not rate_hz:
            raise WavError(f"{channels} channels at {rate_hz} Hz")
        if (tag, bits) not in _READ:
            raise WavError(f"coding {tag} of {bits} bits is not supported; use PCM, float, µ-law or A-law")
        return coding

    def decode(self, data: bytes) -> SamplesI16:
        frame_bytes = self.channels * self.bits // 8
        raw = np.frombuffer(data[: len(data) - len(data) % frame_bytes], np.uint8)
        return np.ascontiguousarray(self._linear(raw).reshape(-1, self.channels).T)

    def _linear(self, raw: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> SamplesI16:
        match self.tag, self.bits:
            case 1, 8:
                return (raw.astype(np.int16) - 128) << 8
            case 1, 16:
                return raw.view("<i2").astype(np.int16)
            case 1, 24 | 32:
                # The two highest bytes of each sample are its sixteen highest bits.
                return (
                    np.ascontiguousarray(raw.reshape(-1, self.bits // 8)[:, -2:])
                    .view("<i2")[:, 0]
                    .astype(np.int16)
                )
            case 3, 32:
                scaled = np.nan_to_num(raw.view("<f4")).astype(np.float64) * 32768
                return np.clip(np.rint(scaled), -32768, 32767).astype(np.int16)
            case 6, _:
                return alaw_decode(raw)
            case _:
                return mulaw_decode(raw)


_READ = frozenset({(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_ALAW, 8), (_MULAW, 8)})
