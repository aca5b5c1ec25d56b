"""Structured logs. Phone numbers and secrets are masked here, whoever logs them."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# E.164 with or without its plus; ids of calls have 13 digits and more, times have separators.
_NUMBER = re.compile(r"\+\d[\d\s().-]{5,}\d|(?<![\w.:-])\d{10,11}(?![\w.:-])")
_SECRET = re.compile(r"(?i)(bearer|basic)\s+[A-Za-z0-9._~+/=-]+")
_SECRET_NAMES = frozenset(
    {"token", "secret", "password", "authorization", "jwt", "api_key", "assertion", "access_token"}
)
_SAFE_NAMES = frozenset(
    {
        "timestamp",
        "level",
        "event",
        "logger",
        "seconds",
        "count",
        "status",
        "call_id",
        "account_id",
        "session_id",
        "telephony_session_id",
        "uuid",
        "path",
        "due",
        "loop",
    }
)


def configure(level: str, form: str) -> None:
    """Configure logging for the process: one line per event, on standard error.

    What libraries log, from warnings on, gets the same form and the same masks.
    """
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if form == "console"
        else structlog.processors.JSONRenderer()
    )
    first: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = [structlog.processors.format_exc_info, mask, renderer]
    structlog.configure(
        processors=[*first, *last],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    of_libraries = logging.StreamHandler(sys.stderr)
    of_libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*first, structlog.stdlib.add_logger_name, _mask_event],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(
        level=max(logging.WARNING, getattr(logging, level.upper())), handlers=[of_libraries], force=True
    )


def mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask what must not be logged: secrets by name, phone numbers by shape."""
    for name, value in event.items():
        if name in _SECRET_NAMES:
            event[name] = "***"
        elif isinstance(value, str) and name not in _SAFE_NAMES:
            event[name] = _masked(value)
    return event


def _mask_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the event itself. Ours are fixed sentences, those of libraries have values in them."""
    event["event"] = _masked(str(event["event"]))
    return event


def _masked(value: str) -> str:
    return _SECRET.sub(r"\1 ***", _NUMBER.sub(lambda match: mask_number(match[0]), value))


def mask_number(number: str) -> str:
    """Keep the beginning and the last two digits: `+1555•••01`."""
    return f"{number[:4]}•••{number[-2:]}" if len(number) > 6 else "•••"
