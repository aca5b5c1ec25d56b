"""Pauses between attempts. Pure."""

from dataclasses import dataclass

_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double with each failure in a row, in seconds."""

    first: float
    longest: float

    def pause(self, failures: int) -> float:
        """Return the pause after this many failures in a row."""
        return min(self.longest, self.first * 2.0 ** min(max(failures, 1) - 1, _MOST_DOUBLINGS))
