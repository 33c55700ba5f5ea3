"""A bot as people wrote them before this gateway: sync grpcio, a thread a call, the old contract only.

A script; the compiled contract is on PYTHONPATH. Prints JSON lines: ready, call_started, digit, call_ended.
Digit 9 hangs the call up, digit 8 ends the stream with OK.
"""

import argparse
import json
import queue
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import voicebot_pb2
import voicebot_pb2_grpc

FRAME = 160


def say(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def audio(seq: int, data: bytes) -> voicebot_pb2.CallAction:
    return voicebot_pb2.CallAction(audio=voicebot_pb2.AudioChunk(seq=seq, timestamp=seq * FRAME, data=data))


HANGUP = voicebot_pb2.CallAction(control=voicebot_pb2.BotControl(type=voicebot_pb2.BotControl.HANGUP))


class Heard:
    """The events of one call that the bot received; reported at the end of the call."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.call_id = ""
        self.frames = 0
        self.seqs: list[int] = []
        self.unknown = 0
        self.data = bytearray()

    def note(self, event: voicebot_pb2.CallEvent) -> str:
        """Note `event` and return its kind."""
        kind = event.WhichOneof("payload")
        self.call_id = event.call_id
        if kind == "config":
            say(
                "call_started",
                call_id=event.call_id,
                rate=event.config.sample_rate,
                codec=voicebot_pb2.Codec.Name(event.config.codec),
            )
        elif kind == "audio":
            self.frames += 1
            self.seqs.append(event.audio.seq)
            if self.directory is not None:
                self.data += event.audio.data
        elif kind == "dtmf":
            say("digit", call_id=event.call_id, digit=event.dtmf.digit, end=event.dtmf.end)
        elif kind is None:
            self.unknown += 1
        return kind or "unknown"

    def report(self, reason: str) -> None:
        if self.directory is not None:
            (self.directory / f"{self.call_id}.ulaw").write_bytes(self.data)
        jumps = sum(b - a != 1 for a, b in zip(self.seqs, self.seqs[1:], strict=False))
        say(
            "call_ended",
            call_id=self.call_id,
            reason=reason,
            frames=self.frames,
            seq_jumps=jumps,
            unknown_events=self.unknown,
        )


class OldBot(voicebot_pb2_grpc.VoiceBotServicer):
    def __init__(self, behaviour: str, speech: bytes, hear: Path | None) -> None:
        self._behave = getattr(self, behaviour)
        self._speech = speech
        self._hear = hear
        self._calls = 0
        self._lock = threading.Lock()

    def StreamCall(self, request_iterator, context):
        with self._lock:
            number = self._calls
            self._calls += 1
        heard = Heard(self._hear)
        reason = "cancelled"
        try:
            reason = yield from self._behave(number, heard, request_iterator)
        except Exception as error:
            reason = type(error).__name__
            raise
        finally:
            heard.report(reason)

    def echo(self, _number: int, heard: Heard, events: Iterator) -> Iterator:
        """Send back what the caller says, byte for byte."""
        for event in events:
            kind = heard.note(event)
            if kind == "audio":
                yield audio(event.audio.seq, event.audio.data)
            elif kind == "dtmf" and event.dtmf.end and event.dtmf.digit == "9":
                yield HANGUP
            elif kind == "dtmf" and event.dtmf.end and event.dtmf.digit == "8":
                return "finished"
            elif kind == "control":
                return "hangup"
        return "stream ended"

    def talk(self, _number: int, heard: Heard, events: Iterator) -> Iterator:
        """Send all of the speech at once, then listen."""
        for event in events:
            kind = heard.note(event)
            if kind == "config":
                for seq in range(len(self._speech) // FRAME):
                    yield audio(seq, self._speech[seq * FRAME : (seq + 1) * FRAME])
            elif kind == "dtmf" and event.dtmf.end and event.dtmf.digit == "9":
                yield HANGUP
            elif kind == "control":
                return "hangup"
        return "stream ended"

    def pause(self, _number: int, heard: Heard, events: Iterator) -> Iterator:
        """Echo, but pause for 0.5 s after 1 s and again after 2.5 s, and then send what is due at once."""
        for event in events:
            kind = heard.note(event)
            if kind == "audio":
                if heard.frames in {50, 125}:
                    time.sleep(0.5)
                yield audio(event.audio.seq, event.audio.data)
            elif kind == "control":
                return "hangup"
        return "stream ended"

    def deaf(self, number: int, heard: Heard, events: Iterator) -> Iterator:
        """Echo, but stop reading the first call's stream after one second."""
        stuck: queue.Queue[None] = queue.Queue()
        for event in events:
            kind = heard.note(event)
            if kind == "audio":
                if number == 0 and heard.frames == 50:
                    say("stopped_reading", call_id=event.call_id)
                    try:
                        stuck.get(timeout=30)
                    except queue.Empty:
                        return "woke up"
                yield audio(event.audio.seq, event.audio.data)
            elif kind == "control":
                return "hangup"
        return "stream ended"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--behaviour", default="echo")
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--hear", type=Path)
    options = parser.parse_args()
    speech = options.speech.read_bytes() if options.speech else b""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=options.workers))
    voicebot_pb2_grpc.add_VoiceBotServicer_to_server(OldBot(options.behaviour, speech, options.hear), server)
    server.add_insecure_port(options.listen)
    server.start()
    say("ready", listen=options.listen)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
