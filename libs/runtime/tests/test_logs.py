"""The form of log lines."""

import io
import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from sipgw.runtime.telemetry.log_thread import LogThread
from sipgw.runtime.telemetry.logs import configure_logging, get_logger


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_service_instance_and_bound_fields(stream: io.StringIO) -> None:
    configure_logging("edge", instance="edge-0", stream=stream)
    get_logger("sipgw.edge").bind(call_id="ab12").info("call_answered", after_ms=12)
    (line,) = lines(stream)
    assert line["ts"].endswith("Z")
    del line["ts"]
    assert line == {
        "level": "info",
        "service": "edge",
        "instance": "edge-0",
        "event": "call_answered",
        "logger": "sipgw.edge",
        "call_id": "ab12",
        "after_ms": 12,
    }


def test_no_event_changes_who_logs(stream: io.StringIO) -> None:
    configure_logging("relay", instance="relay-0", stream=stream)
    get_logger("x").info("trunk_opened", instance="bot-7", service="a bot")
    (line,) = lines(stream)
    assert (line["service"], line["instance"]) == ("relay", "relay-0")
    assert (line["event_service"], line["event_instance"]) == ("a bot", "bot-7")


def test_a_line_is_one_line_whatever_is_in_it(stream: io.StringIO) -> None:
    configure_logging("edge", stream=stream)
    get_logger("x").info("message_received", data=b"\r\n\x00", text="a\nb", thing=object())
    assert stream.getvalue().count("\n") == 1
    assert lines(stream)[0]["text"] == "a\nb"


def test_an_exception_is_structured(stream: io.StringIO) -> None:
    configure_logging("edge", stream=stream)
    try:
        raise ValueError("bad tag")
    except ValueError:
        get_logger("x").exception("failed")
    (line,) = lines(stream)
    assert (line["level"], line["exception"][0]["exc_type"]) == ("error", "ValueError")


def test_a_traceback_has_no_values_of_variables(stream: io.StringIO) -> None:
    """A password is a variable of whoever checks it."""
    configure_logging("edge", stream=stream)
    password = "".join(["hun", "ter2"])
    try:
        raise ValueError(len(password))
    except ValueError:
        get_logger("x").exception("it_failed")
    assert "it_failed" in stream.getvalue()
    assert password not in stream.getvalue()


def test_levels_below_the_chosen_one_are_silent(stream: io.StringIO) -> None:
    configure_logging("edge", level="warning", stream=stream)
    log = get_logger("x")
    log.info("unseen")
    log.warning("seen")
    assert [line["event"] for line in lines(stream)] == ["seen"]


def test_the_standard_librarys_loggers_come_in_the_same_form(stream: io.StringIO) -> None:
    configure_logging("relay", instance="relay-0", stream=stream)
    logging.getLogger("asyncio").warning("took %s s", 2)
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("took 2 s", "asyncio", "warning")
    assert (line["service"], line["instance"]) == ("relay", "relay-0")


def test_a_reader_that_stands_still_holds_up_nobody_who_logs_and_is_told_what_it_missed() -> None:
    """A pipe takes 64 KiB: without the thread, writing 3 MiB to a pipe that nobody reads would never end."""
    reading, writing = os.pipe()
    told: list[int] = []
    read: list[str] = []
    with os.fdopen(writing, "w") as out, os.fdopen(reading) as pipe:
        thread = LogThread(out, told.append)
        for number in range(6000):
            thread.write(f"{number:0500d}\n")
        reader = threading.Thread(target=lambda: read.extend(pipe))
        reader.start()
        thread.close()
        out.close()
        reader.join()
    assert [int(line) for line in read] == list(range(len(read)))
    assert len(read) > 4000
    assert told == [6000 - len(read)]


def test_lines_of_several_threads_are_written_whole_and_before_the_end() -> None:
    out = io.StringIO()
    thread = LogThread(out, lambda _: None)
    writers = [
        threading.Thread(target=lambda n=n: [thread.write(f"{n} {i}\n") for i in range(200)])
        for n in range(4)
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    thread.close()
    written = out.getvalue().splitlines()
    for n in range(4):
        assert [line for line in written if line.startswith(f"{n} ")] == [f"{n} {i}" for i in range(200)]
