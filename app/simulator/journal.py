"""The calls that were started, in a file: a simulator that starts again knows the calls of its earlier runs.

A call follows from its script, options, start, speed, seed and number alone, so these are all that is kept.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from app.simulator.scripting.casting import CallOptions
from app.simulator.scripting.catalogue import SCRIPTS, plan_call
from app.simulator.scripting.company import Company
from app.simulator.scripting.model import ScriptedCall
from app.simulator.scripting.timeline import CallSetup


@dataclass(frozen=True, slots=True)
class StartedCall:
    """What a call follows from, apart from the company. `start` is aware UTC."""

    script: str
    start: datetime
    speed: float
    seed: int
    number: int
    options: CallOptions
    is_traffic: bool = False
    """The company started it of its own accord: it counts towards the number of calls to start."""

    def plan(self, company: Company) -> ScriptedCall:
        """Return the call. Raises KeyError for an unknown script and UnknownNumberError for an extension."""
        setup = CallSetup(company, self.start, self.speed, self.seed, self.number)
        return plan_call(self.script, setup, self.options)


class CallJournal:
    """A file with a line of JSON for each call, in the order in which they were planned."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Iterator[StartedCall]:
        """Yield the calls of earlier runs. Raises ValueError for a file that is not a journal."""
        if not self._path.exists():
            return
        lines = self._path.read_bytes().split(b"\n")
        # What follows the last line break was being written when the simulator was killed.
        for number, line in enumerate(lines[:-1], 1):
            try:
                yield _read(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(
                    f"{self._path}, line {number}: not a call of a simulator. Choose another file."
                ) from error

    def open(self) -> None:
        """Make the file, and remove what a killed simulator left of a line. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)

    def add(self, call: StartedCall) -> None:
        """Append a call."""
        line = json.dumps(asdict(call) | {"start": call.start.isoformat()}, separators=(",", ":"))
        with self._path.open("ab") as file:
            file.write(line.encode() + b"\n")

    def clear(self) -> None:
        """Forget all calls."""
        self._path.write_bytes(b"")


def _read(line: dict[str, object]) -> StartedCall:
    start, options = str(line.pop("start")), line.pop("options")
    if not isinstance(options, dict) or line["script"] not in SCRIPTS:
        raise ValueError(line)
    return StartedCall(start=datetime.fromisoformat(start), options=CallOptions(**options), **line)  # type: ignore[arg-type]
