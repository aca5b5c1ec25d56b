"""How soon the platform shows what happened: delays in simulated seconds. No I/O."""

from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True, slots=True)
class Timing:
    """Delays between an event and its appearance in the API, in simulated seconds.

    A call appears in Active Calls 3-10 s late and stays about 120 s (guide "Finding active calls"). Its
    call-log records follow 15-30 s after the end (guide "Call log"), a few stragglers minutes later.
    Recordings and voicemails can be fetched seconds to minutes after the end; the transcript of a voicemail
    follows `transcript_delay` later.
    """

    lag_min: float = 3.0
    lag_mode: float = 5.0
    lag_max: float = 10.0
    retention: float = 120.0
    log_delay_min: float = 15.0
    log_delay_max: float = 30.0
    straggler_share: float = 0.02
    straggler_delay_min: float = 120.0
    straggler_delay_max: float = 300.0
    provisional_share: float = 0.3
    provisional_delay: float = 6.0
    correction_share: float = 0.2
    correction_delay_min: float = 10.0
    correction_delay_max: float = 60.0
    media_delay_min: float = 8.0
    media_delay_max: float = 60.0
    attach_delay_min: float = 5.0
    attach_delay_max: float = 50.0
    transcript_delay: float = 40.0
    insights_delay: float = 1800.0
    insights_notes_delay: float = 300.0

    def lag(self, chance: float) -> float:
        """Map a random number in [0, 1) to a visibility delay. The distribution is triangular."""
        low, mode, high = self.lag_min, self.lag_mode, self.lag_max
        if high <= low:
            return low
        turn = (mode - low) / (high - low)
        if chance < turn:
            return low + sqrt(chance * (high - low) * (mode - low))
        return high - sqrt((1.0 - chance) * (high - low) * (high - mode))


def between(low: float, high: float, chance: float) -> float:
    """Map a random number in [0, 1) to a value between two limits, evenly."""
    return low + (high - low) * chance
