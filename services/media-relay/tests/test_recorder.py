"""Recordings: the positions of audio in the file, and the effect of a bad disk."""

import errno
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sipgw.api.relay.v1 import control_pb2 as pb
from sipgw.audio import AudioFormat, Codec, decode
from sipgw.audio.wav import read_wav
from sipgw.media_relay.kernels.recording import interleave
from sipgw.media_relay.pipeline import FrameBlock, Tick
from sipgw.media_relay.stages import recording_writer
from sipgw.media_relay.stages.recorder import RecorderStage
from sipgw.media_relay.stages.recording_writer import RecordingPiece, RecordingWriter
from sipgw.rtp.kernels import library
from sipgw.rtp.kernels.columns import new_calls

WIRE = AudioFormat(Codec.PCMU, 8000, 20)
CALLER, BOT = 5, 0x85


@pytest.fixture
def writer():
    writer = RecordingWriter()
    writer.start()
    yield writer
    writer.close()


def audio(seq, byte=CALLER, rows=(1,), wire=WIRE):
    count = len(rows)
    return FrameBlock(
        wire,
        np.array(rows, np.uint32),
        np.full(count, seq, np.uint64),
        np.full((count, wire.frame_bytes), byte, np.uint8),
        np.full(count, wire.frame_bytes, np.int32),
        np.zeros(count, np.uint8),
    )


def converse(stage, frames, *, first=0, row=1):
    for seq in range(first, first + frames):
        tick = Tick(seq * 4, seq * 0.02)
        stage.uplink(audio(seq, CALLER, (row,)), tick)
        stage.downlink(audio(seq, BOT, (row,)), tick)


def written(writer):
    """Wait until everything is in the files."""
    writer.close()
    writer.close = lambda: None


def clip_of(path):
    with path.open("rb") as file:
        return read_wav(file).samples


def level(byte):
    return int(decode(WIRE, np.array([[byte]], np.uint8))[0, 0])


def test_the_caller_is_left_and_the_bot_right(writer, tmp_path):
    stage = RecorderStage(new_calls(4), writer)
    stage.open(1, tmp_path / "call.wav", WIRE)
    converse(stage, 120)
    stage.close(1)
    written(writer)
    left, right = clip_of(tmp_path / "call.wav")
    assert len(left) == 120 * 160
    assert (left == level(CALLER)).all()
    assert (right == level(BOT)).all()


def test_blocks_are_handed_on_as_they_came(writer, tmp_path):
    stage = RecorderStage(new_calls(4), writer)
    stage.open(1, tmp_path / "call.wav", WIRE)
    block = audio(0, rows=(0, 1, 2))
    assert stage.uplink(block, Tick(0, 0.0)) is block
    assert stage.downlink(block, Tick(0, 0.0)) is block


def test_who_begins_later_is_later_in_the_file(writer, tmp_path):
    stage = RecorderStage(new_calls(4), writer)
    stage.open(1, tmp_path / "call.wav", WIRE)
    for seq in range(100):
        stage.uplink(audio(seq), Tick(seq * 4, 0.0))
        if seq >= 50:
            stage.downlink(audio(seq - 50, BOT), Tick(seq * 4, 0.0))
    stage.close(1)
    written(writer)
    _, right = clip_of(tmp_path / "call.wav")
    assert np.flatnonzero(np.abs(right) > 1000)[0] == 50 * 160


def test_frames_left_out_after_a_stall_are_silence_of_that_length(writer, tmp_path):
    stage = RecorderStage(new_calls(4), writer)
    stage.open(1, tmp_path / "call.wav", WIRE)
    converse(stage, 10)
    converse(stage, 10, first=30)
    stage.close(1)
    written(writer)
    left, _ = clip_of(tmp_path / "call.wav")
    loud = np.abs(left) > 1000
    assert len(left) == 40 * 160
    assert loud.sum() == 20 * 160
    assert not loud[10 * 160 : 30 * 160].any()


def test_a_side_that_is_silent_for_ever_holds_nothing_up(writer, tmp_path):
    stage = RecorderStage(new_calls(4), writer)
    stage.open(1, tmp_path / "call.wav", WIRE)
    for seq in range(500):
        stage.downlink(audio(seq, BOT), Tick(seq * 4, 0.0))
    stage.close(1)
    written(writer)
    left, right = clip_of(tmp_path / "call.wav")
    assert (right == level(BOT)).sum() == 500 * 160
    assert not (np.abs(left) > 10).any()


def test_two_calls_and_the_next_call_on_a_row_have_files_of_their_own(writer, tmp_path):
    stage = RecorderStage(new_calls(4), writer)
    stage.open(1, tmp_path / "a.wav", WIRE)
    stage.open(2, tmp_path / "b.wav", WIRE)
    converse(stage, 30, row=1)
    converse(stage, 60, row=2)
    stage.close(1)
    stage.open(1, tmp_path / "c.wav", WIRE)
    converse(stage, 40, row=1)
    stage.close(1)
    stage.close(2)
    written(writer)
    assert [clip_of(tmp_path / f"{name}.wav").shape[1] for name in "abc"] == [n * 160 for n in (30, 60, 40)]


def test_the_file_is_whole_while_the_call_goes_on(writer, tmp_path):
    stage = RecorderStage(new_calls(4), writer)
    stage.open(1, tmp_path / "call.wav", WIRE)
    converse(stage, 100)
    written(writer)  # the writer closed the file, but the stage does not know that the call is over
    assert clip_of(tmp_path / "call.wav").shape[1] >= 100 * 160 - 8000


def test_a_name_that_is_taken_is_never_overwritten(writer, tmp_path):
    (tmp_path / "call.wav").write_bytes(b"of an earlier attempt")
    stage = RecorderStage(new_calls(4), writer)
    stage.open(1, tmp_path / "call.wav", WIRE)
    converse(stage, 10)
    stage.close(1)
    written(writer)
    assert (tmp_path / "call.wav").read_bytes() == b"of an earlier attempt"
    assert clip_of(tmp_path / "call.2.wav").shape[1] == 10 * 160


class Pieces:
    """A writer that keeps what it is given, by recording."""

    def __init__(self):
        self.of = {}

    def begin(self, number, path, rate_hz):
        self.of[number] = []

    def write(self, piece):
        if piece.audio is not None:
            self.of[piece.number].append(piece)

    def audio(self, number):
        """Return both channels from the first sample to the last; check that the pieces lie end to end."""
        pieces = self.of[number]
        ends = np.cumsum([0, *(piece.audio.shape[1] for piece in pieces)])
        assert [piece.first_sample for piece in pieces] == ends[:-1].tolist()
        assert all(piece.audio.shape[1] <= 16_000 for piece in pieces)
        return [b"".join(bytes(piece.audio[channel]) for piece in pieces) for channel in (0, 1)]


moments = st.sampled_from([(1, 1)] * 6 + [(1, 0), (0, 1), (0, 0)])
stretches = st.lists(st.tuples(moments, st.integers(1, 130)), min_size=1, max_size=5)


@settings(max_examples=15, deadline=None)
@given(stretches, st.integers(0, 40), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_however_the_sides_alternate_every_row_records_the_same_bytes_compiled_or_not(talk, row, late, seed):
    """Frames of one side, of both or of none for a while; the second side begins `late` ticks later."""
    expected, writer = Pieces(), Pieces()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(library, "IS_PYTHON", True)
        oracle = RecorderStage(new_calls(1), expected)
    stage = RecorderStage(new_calls(41), writer)
    oracle.open(0, Path("x"), WIRE)
    stage.open(row, Path("x"), WIRE)
    rng, frame = np.random.default_rng(seed), 0
    for sides, frames in talk:
        for seq in range(frame, frame + frames):
            for side, is_heard in enumerate(sides):
                tick, payload = Tick(seq * 4 + side * late, 0.0), rng.integers(0, 256, 160, np.uint8)
                for each, of_row in ((oracle, 0), (stage, row)):
                    block = audio(seq, payload, (of_row,))
                    if is_heard:
                        (each.downlink if side else each.uplink)(block, tick)
        frame += frames
    oracle.close(0)
    stage.close(row)
    assert writer.audio(1) == expected.audio(1)


@pytest.mark.parametrize("is_python", [True, False])
@pytest.mark.parametrize("codec", [Codec.PCMU, Codec.PCMA])
def test_both_laws_are_decoded_and_interleaved_as_the_library_does_it(codec, is_python, monkeypatch):
    monkeypatch.setattr(library, "IS_PYTHON", is_python)
    wire = AudioFormat(codec, 8000, 20)
    channels = np.random.default_rng(5).integers(0, 256, (2, 777), np.uint8)
    samples = np.zeros((777, 2), np.int16)
    interleave(channels, decode(wire, np.arange(256, dtype=np.uint8)), samples)
    assert np.array_equal(samples, decode(wire, channels).T)


def test_calls_that_began_together_hand_over_their_pieces_in_different_ticks(writer):
    rows = tuple(range(100))
    stage, pieces = RecorderStage(new_calls(100), each := Pieces()), []
    for row in rows:
        stage.open(row, Path("x"), WIRE)
    for seq in range(150):
        stage.uplink(audio(seq, rows=rows), Tick(seq * 4, 0.0))
        stage.downlink(audio(seq, rows=rows), Tick(seq * 4, 0.0))
        pieces.append(sum(map(len, each.of.values())))
    assert max(np.diff(pieces)) == 2  # a hundred calls, 50 frames for each piece


class FullDisk:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, path, room):
        self._file = path.open("xb", buffering=0)
        self._room = room

    def write(self, data):
        if len(data) > self._room:
            self._room -= self._file.write(data[: self._room])
            raise OSError(errno.ENOSPC, "No space left on device")
        self._room -= len(data)
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_full_disk_costs_the_recording_and_is_said_once(monkeypatch, tmp_path):
    writer, stage = (w := RecordingWriter()), RecorderStage(new_calls(4), w)

    def create(path):
        return path, FullDisk(path, 60_000) if path.name == "full.wav" else path.open("xb", buffering=0)

    monkeypatch.setattr(recording_writer, "_create", create)
    stage.open(1, tmp_path / "full.wav", WIRE)
    stage.open(2, tmp_path / "fine.wav", WIRE)
    for row in (1, 2):
        converse(stage, 200, row=row)
        stage.close(row)
    with capture_logs() as logs:
        writer.start()
        writer.close()
    (line,) = [log for log in logs if log["event"] == "recording_failed"]
    assert "No space left" in line["cause"]
    assert "free space" in line["cure"]
    assert writer.failed == 1
    assert clip_of(tmp_path / "fine.wav").shape[1] == 200 * 160
    assert clip_of(tmp_path / "full.wav").shape[1] > 60_000 / 4 - 8000  # each piece that fitted is whole


@pytest.mark.parametrize("path", ["/proc/none/call.wav", "/dev/null/call.wav", "/tmp/a\0b/call.wav"])
def test_a_directory_that_takes_no_file_costs_the_recording_alone(path, tmp_path):
    writer, stage = (w := RecordingWriter()), RecorderStage(new_calls(4), w)
    stage.open(1, Path(path), WIRE)
    stage.open(2, tmp_path / "fine.wav", WIRE)
    for row in (1, 2):
        converse(stage, 60, row=row)
        stage.close(row)
    with capture_logs() as logs:
        writer.start()
        writer.close()
    assert [log["event"] for log in logs] == ["recording_failed"]
    assert clip_of(tmp_path / "fine.wav").shape[1] == 60 * 160


def test_a_disk_that_stands_still_refuses_audio_and_leaves_silence_in_its_place(monkeypatch, tmp_path):
    monkeypatch.setattr(recording_writer, "_QUEUED", 4)
    goes_on = threading.Event()
    create = recording_writer._create
    monkeypatch.setattr(recording_writer, "_create", lambda path: goes_on.wait(10) and create(path))
    writer = RecordingWriter()
    loud = np.full((2, 4000), CALLER, np.uint8)
    with capture_logs() as logs:
        writer.begin(1, tmp_path / "call.wav", 8000)
        for number in range(10):
            writer.write(RecordingPiece(1, number * 4000, Codec.PCMU, loud))
        assert 5 <= writer.refused <= 7  # the file's beginning waits in the queue too
        writer.start()
        goes_on.set()
        writer.write(RecordingPiece(1, 0, Codec.PCMU, None))
        writer.close()
        assert [log["event"] for log in logs] == ["recordings_fell_behind"]
    samples = clip_of(tmp_path / "call.wav")
    assert samples.shape[1] == (10 - writer.refused) * 4000


def test_a_refused_piece_is_a_silence_of_its_length(writer, tmp_path):
    loud = np.full((2, 4000), CALLER, np.uint8)
    writer.begin(1, tmp_path / "call.wav", 8000)
    for number in (0, 3):
        writer.write(RecordingPiece(1, number * 4000, Codec.PCMU, loud))
    written(writer)
    left, _ = clip_of(tmp_path / "call.wav")
    assert len(left) == 16000
    assert not left[4000:12000].any()
    assert (left[12000:] == level(CALLER)).all()


def test_a_call_whose_recording_fails_goes_on_and_says_that_there_is_none(bench):
    phone = bench.phone()
    bench.call(phone, recording="/dev/null/recordings")
    said = bench.talk(phone, 60)
    bench.tick(20)
    assert phone.heard() == said
    written(bench.relay.writer)
    bench.command("call-1", generation=2, release=pb.Release(reason="bye"))
    (ended,) = bench.edge.of("session_ended")
    assert ended.totals.recording_path == ""


def test_an_empty_directory_is_refused_before_anything_is_taken(bench):
    phone = bench.phone()
    free = bench.plane.pool.free
    allocate = pb.Allocate(
        media=bench.media(phone), bot=pb.BotSpec(endpoint="builtin:echo"), recording=pb.RecordingSpec()
    )
    result = bench.command("call-1", allocate=allocate)
    assert (result.status, bench.plane.pool.free) == (pb.COMMAND_STATUS_INVALID, free)
