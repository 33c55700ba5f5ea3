"""RecordingWriter: a thread that writes stereo WAV files, so that no disk ever holds up the tick.

Each piece has its position in the file, so that a piece refused by the full queue leaves silence and moves
nothing. Each piece is followed by the sizes in the header: whenever the process dies, a file is complete up
to its last piece. A disk that fails costs the recording, which is logged once, and never the call.
"""

import contextlib
import errno
import functools
import queue
import threading
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from sipgw.audio import AudioFormat, Codec, PayloadU8, SamplesI16, decode
from sipgw.audio.wav import WavWriter
from sipgw.media_relay.kernels.recording import interleave
from sipgw.runtime.telemetry.logs import get_logger

_CHANNELS: Final = 2
_QUEUED: Final = 4096
"""Pieces: four seconds of a thousand calls, 64 MiB."""
_GATHER_S: Final = 0.05
"""How long pieces gather once all are written: waking the thread for each would take the ticks' time."""
_LONGEST_GAP: Final = 80_000
"""Samples of silence that are written at once."""
_MOST_NAMES: Final = 1000
_CURES: Final = {
    errno.ENOSPC: "free space on that disk, or write recordings to another",
    errno.EDQUOT: "raise the relay's quota on that disk, or write recordings to another",
    errno.EACCES: "let the relay's user write to that directory",
    errno.EPERM: "let the relay's user write to that directory",
    errno.EROFS: "mount that file system for writing, or write recordings to another",
}
_log = get_logger("sipgw.media_relay.recording")


@dataclass(frozen=True, slots=True)
class RecordingPiece:
    """Audio of both channels (2, n) from `first_sample` on, in wire format; None as audio ends the file."""

    number: int
    """The number of the recording."""
    first_sample: int
    codec: Codec
    audio: PayloadU8 | None


@dataclass(frozen=True, slots=True)
class _Begin:
    number: int
    path: Path
    rate_hz: int


@dataclass(slots=True)
class _Recording:
    path: Path
    file: FileIO
    wav: WavWriter


_Item: TypeAlias = _Begin | RecordingPiece | None


class RecordingWriter:
    """`begin` and `write` never wait and never fail. A full queue refuses audio and counts it."""

    def __init__(self) -> None:
        # `write` bounds the audio; beginnings and ends add two items for each call.
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recording-writer", daemon=True)
        self._open: dict[int, _Recording] = {}
        self._paths: dict[int, Path | None] = {}
        """The paths that the thread found free, until the file's end."""
        self._is_behind = False
        self._closing = threading.Event()
        self._samples = np.empty((0, _CHANNELS), np.int16)
        """The samples of one piece, (n, 2)."""
        self.refused = 0
        self.failed = 0

    @property
    def waiting(self) -> int:
        """The pieces, beginnings and ends that wait for the disk."""
        return self._queue.qsize()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def begin(self, number: int, path: Path, rate_hz: int) -> None:
        """Begin a file. When the name is taken, use `name.2.wav` and so on: no file is ever overwritten."""
        self._queue.put(_Begin(number, path, rate_hz))

    def write(self, piece: RecordingPiece) -> None:
        """Queue a piece; refuse and count it when the queue is full."""
        if piece.audio is not None and self._queue.qsize() >= _QUEUED:
            self.refused += 1
            if not self._is_behind:
                self._is_behind = True
                _log.error(
                    "recordings_fell_behind",
                    cause=f"the disk is slower than the calls: {_QUEUED} seconds of audio wait for it",
                    effect="recordings have silent gaps; calls go on",
                    cure="use a faster disk, or record fewer routes",
                )
            return
        self._queue.put(piece)

    def path(self, number: int, planned: Path) -> Path | None:
        """Return where the recording is.

        That is None when it failed, and `planned` until the thread has made the file.
        """
        return self._paths.get(number, planned)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write the queued pieces and end the thread."""
        self._queue.put(None)
        self._closing.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self._handle(item)
            except Exception as error:  # the thread's outermost place, since it serves all calls
                self._fail(item, error)
            if self._is_behind and self._queue.qsize() < _QUEUED // 2:
                self._is_behind = False
            if self._queue.empty():
                self._closing.wait(_GATHER_S)
        for number in list(self._open):
            self._end(number)

    def _handle(self, item: _Begin | RecordingPiece) -> None:
        if isinstance(item, _Begin):
            item.path.parent.mkdir(parents=True, exist_ok=True)
            path, file = _create(item.path)
            self._open[item.number] = _Recording(path, file, WavWriter(file, rate_hz=item.rate_hz))
            self._paths[item.number] = path
        elif item.audio is None:
            self._end(item.number)
            self._paths.pop(item.number, None)
        elif item.number in self._open:
            self._write_piece(self._open[item.number].wav, item, item.audio)

    def _write_piece(self, wav: WavWriter, piece: RecordingPiece, audio: PayloadU8) -> None:
        while (gap := piece.first_sample - wav.frames) > 0 and not wav.is_full:
            wav.write(np.zeros((_CHANNELS, min(gap, _LONGEST_GAP)), np.int16))
        length = audio.shape[1]
        if length > len(self._samples):
            self._samples = np.empty((length, _CHANNELS), np.int16)
        interleave(audio, _table(piece.codec), self._samples[:length])
        wav.write_frames(self._samples[:length])
        wav.flush()

    def _fail(self, item: _Begin | RecordingPiece, error: Exception) -> None:
        """Give the recording up. The part written before stays and is complete."""
        self.failed += 1
        recording = self._open.get(item.number)
        path = item.path if isinstance(item, _Begin) else recording.path if recording else None
        if recording is None:
            self._paths[item.number] = None
        code = error.errno if isinstance(error, OSError) else None
        _log.error(
            "recording_failed",
            path=str(path),
            cause=str(error),
            effect="the call goes on unrecorded",
            cure=_CURES.get(code or 0, "remove the cause; later calls are then recorded again"),
        )
        self._end(item.number)

    def _end(self, number: int) -> None:
        recording = self._open.pop(number, None)
        if recording is not None:
            with contextlib.suppress(OSError):
                recording.file.close()


@functools.cache
def _table(codec: Codec) -> SamplesI16:
    """Return the samples (256,) of a codec's bytes."""
    return decode(AudioFormat(codec, 8000, 20), np.arange(256, dtype=np.uint8))


def _create(path: Path) -> tuple[Path, FileIO]:
    """Create `path`, or a numbered file beside it: the call may have been on this relay before."""
    for attempt in range(1, _MOST_NAMES):
        name = path if attempt == 1 else path.with_name(f"{path.stem}.{attempt}{path.suffix}")
        with contextlib.suppress(FileExistsError):
            # no buffer: a piece is one write, and a buffer would cost 8 KiB a call
            return name, name.open("xb", buffering=0)
    raise FileExistsError(errno.EEXIST, "too many recordings of one call", str(path))
