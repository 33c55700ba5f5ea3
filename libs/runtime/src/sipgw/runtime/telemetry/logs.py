"""JSON lines on stderr, one event per line: structlog and the standard library's loggers in the same form.

A thread writes them: nothing that logs waits for the disk or the reader of stderr.
"""

import logging
import sys
from typing import Any, TextIO, cast

from sipgw.runtime.lean_imports import without
from sipgw.runtime.telemetry.log_thread import LogThread

with without("rich"):  # for tracebacks on consoles: a tenth of a second, and no line of ours needs it
    import structlog
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

__all__ = ["FilteringBoundLogger", "configure_logging", "get_logger"]
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # locals may hold passwords
)
_FIRST = ("ts", "level", "service", "instance", "event")


def configure_logging(
    service: str, *, level: str = "info", instance: str = "", stream: TextIO | None = None
) -> None:
    """Log as `service` from `level` on, to `stream` or stderr. Call this once, before the first line."""
    number = logging.getLevelNamesMapping()[level.upper()]
    out = stream or cast(TextIO, LogThread(sys.stderr, _tell_dropped))
    shared = _processors(service, instance)
    renderer = structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a logger whose lines carry `logger=name`; `.bind(call_id=...)` adds fields for all its lines."""
    return cast(FilteringBoundLogger, structlog.get_logger(logger_name=name))


def _tell_dropped(lines: int) -> None:
    get_logger("sipgw.runtime.logs").warning(
        "log_lines_dropped", lines=lines, cause="the reader of this log is slower than its writers"
    )


def _processors(service: str, instance: str) -> list[Processor]:
    fixed = {"service": service, "instance": instance} if instance else {"service": service}

    def add_fixed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for key, value in fixed.items():
            if key in event:  # a field of the event must not replace the logger's own
                event[f"event_{key}"] = event[key]
            event[key] = value
        return event

    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        add_fixed,
        _TRACEBACKS,
        _order,
    ]


def _order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put the fields that people look for first at the front."""
    if (name := event.pop("logger_name", None)) is not None:  # structlog uses the word "logger" itself
        event["logger"] = name
    ordered: dict[str, Any] = {key: event[key] for key in _FIRST if key in event}
    return ordered | dict(event)


def _add_logger_name(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["logger"] = event["_record"].name
    return event
