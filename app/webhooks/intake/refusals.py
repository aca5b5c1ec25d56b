"""Remembers which deliveries this process refused, until they are recorded as a gap."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """Deliveries that were refused, from the arrival of the first to the response to the last."""

    first_at: datetime
    last_at: datetime
    count: int
    why: str
    """The reason of the last one."""

    def __or__(self, later: "Refused") -> "Refused":
        return Refused(
            min(self.first_at, later.first_at),
            max(self.last_at, later.last_at),
            self.count + later.count,
            later.why,
        )


class Refusals:
    """The refused deliveries of one process, in memory: the database may be what is missing."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._refused: Refused | None = None

    def note(self, arrived_at: datetime, why: str) -> None:
        """Note that a delivery was answered with anything but 200."""
        one = Refused(min(arrived_at, self._now()), self._now(), 1, why)
        self._refused = one if self._refused is None else self._refused | one

    def take(self) -> Refused | None:
        """Return what was refused since the last call, and forget it."""
        taken, self._refused = self._refused, None
        return taken

    def put_back(self, refused: Refused | None) -> None:
        """Remember again what was taken and could not be stored."""
        if refused is not None:
            self._refused = refused if self._refused is None else refused | self._refused
