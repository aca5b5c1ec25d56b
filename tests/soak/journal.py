"""What happened in a run, in order: its digest tells whether a seed plays the same run again.

The log is not part of it: the service logs what repeats itself once for the whole process.
"""

import asyncio
import hashlib
import logging
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from tests.soak.machines import CURRENT
from tests.soak.virtual_loop import VirtualLoop

_MOST_ERRORS = 20


class Journal:
    """Takes notes, and counts what the replicas log. `errors` are what nobody expects: exceptions."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._digest = hashlib.sha256()
        self.notes = 0
        self.events: Counter[str] = Counter()
        self.errors: list[str] = []
        self.trail: list[str] | None = None
        """All notes, if somebody wants them."""

    def note(self, *what: object) -> None:
        """Write down what happens now."""
        line = f"{self._loop.time():.6f} {' '.join(map(str, what))}"
        self._digest.update(line.encode())
        self.notes += 1
        if self.trail is not None:
            self.trail.append(line)

    def digest(self) -> str:
        return self._digest.hexdigest()[:16]

    def hear_loop(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Count what the loop reports. It is not logged: whoever keeps the log would keep the connections
        that killed processes leave behind, with the frames of their errors.
        """
        if isinstance(context.get("task"), asyncio.Task):  # destroyed while it was pending
            loop.default_exception_handler(dict(context))
        self.events[f"asyncio: {context.get('message')}"] += 1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the service's log while the block runs."""
        before = structlog.get_config()
        structlog.configure(
            processors=[structlog.stdlib.add_log_level, self._hear],
            wrapper_class=structlog.make_filtering_bound_logger(30),
            cache_logger_on_first_use=False,
        )
        drivers = _Drivers(self)
        logging.getLogger().addHandler(drivers)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(drivers)
            structlog.configure(**before)

    def _hear(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        text, level = str(event.get("event")), str(event.get("level"))
        self.events[f"{level}: {text}"] += 1
        error = event.get("exc_info")
        if isinstance(error, BaseException) and len(self.errors) < _MOST_ERRORS:
            trace = "".join(traceback.format_exception(error))
            self.errors.append(f"at {self._loop.time():.1f}: {text}: {trace[-1800:]}")
        raise structlog.DropEvent


class _Drivers(logging.Handler):
    """Counts what libraries log, except of machines that are dead: their connections fail as they must."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        machine = CURRENT.get()
        if machine is None or not machine.is_dead:
            self._journal.events[f"{record.name}: {record.getMessage()[:60]}"] += 1
