"""When and how ranges of time are swept, and what a finished pass leads to. No I/O."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.enrichment.call_log.gaps import Reason, Sweep

GAP_PASSES = 2
"""A gap is swept again later: a few records come minutes late."""

LONG_PASS_EVERY = 8
"""Most regular passes go back a little; every eighth goes back all the way, for calls that lasted for hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRules:
    """Durations in seconds; see `Settings`."""

    interval: float
    """From one regular pass to the next."""

    lookback: float
    """How far long passes go back: calls that started earlier and are over are not looked up any more."""

    overlap: float
    """How far short passes reach into the previous one: a few records come minutes late."""

    grace: float
    """How long after its end a call is left to its events."""

    margin: float
    """How far apart the records of one call may start."""

    first_after: float
    """From the end of a gap to its first sweep: the Call Log follows the calls after 15-30 s."""

    second_after: float
    spacing: float
    """Between two slices that are not urgent."""

    lease: float
    """After this time a crashed replica's slice is free; the lease is renewed while the work goes on."""

    longest: float
    """A slice that takes longer to read is read in shorter ones."""


def is_long_pass(sweep: Sweep) -> bool:
    """Whether this pass of the regular sweep goes back all the way."""
    return sweep.passes > 0 and sweep.passes % LONG_PASS_EVERY == 0


def after_pass(sweep: Sweep, rules: SweepRules, now: datetime) -> dict[str, Any]:
    """Return the columns of a row that finished a pass."""
    passes = sweep.passes + 1
    changes: dict[str, Any] = {"passes": passes, "found": sweep.found, "problem": None}
    if sweep.reason == Reason.REGULAR:
        due_at = now + timedelta(seconds=rules.interval)
        back = rules.lookback if passes % LONG_PASS_EVERY == 0 else rules.overlap
        from_at = min(sweep.to_at or now, due_at) - timedelta(seconds=back)
        # Calls from before the regular sweep began are for a backfill.
        from_at = max(sweep.created_at, from_at)
        return changes | {
            "from_at": from_at, "to_at": due_at, "cursor_at": None, "due_at": due_at, "done_at": now,
        }  # fmt: skip
    if sweep.is_gap and passes < GAP_PASSES:
        return changes | {"cursor_at": None, "due_at": now + timedelta(seconds=rules.second_after)}
    return changes | {"due_at": None, "done_at": now}
