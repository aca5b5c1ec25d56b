"""The durations that polling depends on. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlannerLimits:
    """Durations in seconds. Everything that is derived from them scales with them."""

    window_seconds: float = 120.0
    lag_min_seconds: float = 3.0
    lag_max_seconds: float = 10.0
    quiet_seconds: float = 3.0
    """From the end of a call until the service knows that it has ended."""

    last_poll_from: float = 0.75
    """Share of the window: a poll at this age or later is the last one for a call (90 s of 120) ..."""

    last_poll_by: float = 0.8
    """... and it is sent by this age if the budget permits (96 s)."""

    @property
    def last_poll_seconds(self) -> float:
        """The age from which a poll is the last one for a call."""
        return self.last_poll_from * self.window_seconds
