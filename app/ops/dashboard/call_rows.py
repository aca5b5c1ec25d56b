"""Describes the calls of the board in words and plain values, for the page and for its updates. No I/O.

The result is JSON: texts that are shown as they are, and the few numbers that the page animates (milliseconds
since 1970, seconds). Phone numbers and names of people outside are masked unless `unmasked`.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from app.calls.model import Outcome, Source, Stage
from app.ops.dashboard.board import Lane
from app.ops.dashboard.wording import NONE, milliseconds, sentence_of

_MARKS_APART = 0.11
"""The least distance of two marks on the axis, as a share of its length."""

_STAGES: Mapping[str, tuple[str, int]] = {
    Stage.LIVE: ("Live", 1),
    Stage.ENDED: ("Ended", 2),
    Stage.BOOTSTRAPPED: ("Found", 3),
    Stage.RECONCILED: ("Checked", 4),
    Stage.FINAL: ("Final", 5),
    Stage.ABSENT: ("Absent", 5),
}
_NO_OUTCOME = (Outcome.IN_PROGRESS, Outcome.UNKNOWN)

LaneRow = TypedDict(
    "LaneRow",
    {
        "id": str,
        "chip": str,
        "step": int,
        "tone": str,
        "direction": str,
        "from": str,
        "to": str,
        "outcome": str,
        "startedAt": int,
        "endedAt": int | None,
        "window": float | None,
        "found": float | None,
        "notes": int,
        "sentiment": str | None,
        "feeling": str,
        "recording": bool,
        "side": bool,
    },
)
"""A lane. `window` and `found` are seconds after the end; `step` is the progress, of five steps. `side`: the
call belongs to another one, which stands for both."""


class Scale(TypedDict):
    """The window, and the usual lag of a record within it, seconds."""

    window: float
    lagMin: float
    lagMax: float


class AxisMark(TypedDict):
    """A mark of the axis: where, as a share of its length, and its text."""

    at: float
    text: str


def describe_lane(lane: Lane, now: datetime, *, unmasked: bool) -> LaneRow:
    """Describe one call of the board."""
    chip, step = _STAGES.get(lane.stage, (lane.stage.capitalize(), 1))
    ended, found = lane.ended_at, lane.bootstrapped_at
    window = lane.window_closes_at - ended if ended and lane.window_closes_at else None
    return {
        "id": lane.call_id,
        "chip": chip,
        "step": step,
        "tone": _tone(lane, now),
        "direction": "internal" if lane.internal else (lane.direction or "unknown").lower(),
        "from": describe_party(lane.caller, unmasked=unmasked),
        "to": describe_party(lane.callee, unmasked=unmasked),
        "outcome": _outcome(lane),
        "startedAt": milliseconds(lane.answered_at or lane.started_at),
        "endedAt": milliseconds(ended) if ended and lane.stage != Stage.LIVE else None,
        "window": window.total_seconds() if window else None,
        "found": max(0.0, (found - ended).total_seconds()) if found and ended else None,
        "notes": lane.notes,
        "sentiment": lane.sentiment,
        "feeling": _feeling(lane.sentiment),
        "recording": lane.has_recording,
        "side": lane.main_call_id is not None,
    }


def _tone(lane: Lane, now: datetime) -> str:
    """Return the meaning of the lane's colour."""
    closes_at = lane.window_closes_at
    if lane.stage == Stage.LIVE:
        return "live"
    if lane.source == Source.SWEEP:
        return "swept"
    if lane.stage == Stage.ABSENT:
        return "absent"
    if lane.bootstrapped_at is not None:
        in_time = closes_at is not None and lane.bootstrapped_at <= closes_at
        return "found" if in_time or lane.bootstrapped_by == Source.ACTIVE_CALLS else "later"
    return "waiting" if closes_at is not None and now < closes_at else "overdue"


def _feeling(sentiment: str | None) -> str:
    """Return which face stands for a sentiment's label; empty for none."""
    if not sentiment:
        return ""
    label = sentiment.lower()
    return next((feeling for feeling in ("positive", "negative") if feeling in label), "neutral")


def _outcome(lane: Lane) -> str:
    if lane.stage == Stage.LIVE:
        return "Talking" if lane.answered_at else "Ringing"
    if lane.stage == Stage.ABSENT and lane.absent_reason:
        return sentence_of(lane.absent_reason)
    return NONE if lane.outcome in _NO_OUTCOME else Outcome(lane.outcome).words


def describe_party(party: Mapping[str, Any] | None, *, unmasked: bool) -> str:
    """Name one side of a call: colleagues by name, others by number, masked unless `unmasked`."""
    if not party:
        return "Unknown"
    name, number = party.get("name"), party.get("phoneNumber")
    extension = party.get("extensionNumber")
    if extension or party.get("extensionId"):
        return str(name or (f"Ext. {extension}" if extension else "A colleague"))
    if not number:
        return str(name) if name and unmasked else "No number"
    if unmasked:
        return f"{name} {number}" if name else str(number)
    return mask_number(str(number))


def mask_number(number: str) -> str:
    """Hide the middle: `+15550179001` becomes `+1 555 ••• 9001`. At least three digits stay hidden."""
    digits = re.sub(r"\D", "", number)
    if len(digits) < 7:
        return "•••" if len(digits) < 5 else f"••• {digits[-2:]}"
    if number.startswith("+1") and len(digits) == 11:
        return f"+1 {digits[1:4]} ••• {digits[-4:]}"
    head = f"+{digits[:2]}" if number.startswith("+") else digits[:2]
    return f"{head} ••• {digits[-min(4, len(digits) - 5) :]}"


def axis_position(share: float) -> float:
    """Return where a share of the window is on the axis, 0..1: its square root, as in the histogram."""
    return math.sqrt(min(1.0, max(0.0, share)))


def axis_marks(scale: Scale) -> list[AxisMark]:
    """Return the marks of the board's axis, far enough apart for their texts."""
    window = scale["window"]
    shown: list[AxisMark] = []
    for mark in sorted({0.0, scale["lagMin"], scale["lagMax"], window / 4, window / 2}):
        at = round(axis_position(mark / window), 4)
        if mark < window * 0.9 and (not shown or at - shown[-1]["at"] >= _MARKS_APART):
            shown.append({"at": at, "text": f"{round(mark, 2):g} s"})
    return [*shown, {"at": 1.0, "text": f"{round(window, 2):g} s"}]
