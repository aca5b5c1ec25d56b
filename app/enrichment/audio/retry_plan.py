"""When audio is requested again. Made from the settings."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """Durations in seconds. `gaps[n]` is the pause after n failed attempts, `gaps[0]` that after an outage.

    `lease` is how long one replica may take for one recording or voicemail before another takes over.
    """

    gaps: tuple[float, ...] = (60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
    lease: float = 60.0
    archives: bool = False

    @property
    def first_gap(self) -> timedelta:
        return timedelta(seconds=self.gaps[0])

    @property
    def longest_outage(self) -> timedelta:
        """How long credentials, RingCentral or the archive may fail before what waits for them is given up: a
        week where the last gap is an hour."""
        return timedelta(seconds=self.gaps[-1] * 24 * 7)

    def next_gap(self, attempts: int) -> float | None:
        """Return the seconds until the attempt after so many failed ones; None: there is none."""
        return self.gaps[attempts] if attempts < len(self.gaps) else None
