"""When a call began and was answered, and how long it rang, was talked in and was on hold. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.calls.derivation.answers import is_same_moment, talk_of, talked_spans
from app.calls.derivation.sides import Sides
from app.calls.evidence.party_view import Span, join_spans, total_seconds
from app.calls.evidence.statements import Line, Role, Statement

_NEVER = datetime.max.replace(tzinfo=UTC)
_CALLED = frozenset({Role.CALLED, Role.HANDED_TO, Role.SIDE_ATTEMPT})


@dataclass(frozen=True, slots=True)
class TalkTimes:
    """When somebody answered, and how long people talked. None where no witness tells it."""

    answered_at: datetime | None
    talk_seconds: float | None
    source: Statement | None


def first_told(statements: Iterable[Statement]) -> Statement | None:
    """Return the statement with the earliest start."""
    told = [one for one in statements if one.started_at]
    return min(told, key=lambda one: (one.started_at or _NEVER, one.key), default=None)


def talk_times(
    statements: Sequence[Statement],
    answered: Mapping[str, list[tuple[Statement, Line]]],
    *,
    is_over: bool,
) -> TalkTimes:
    """Return the times of the lines that somebody answered, without the time on hold.

    The talk time of a call that is over and that nobody answered is 0.
    """
    timed = [claim for claims in answered.values() for claim in talked_spans(claims)]
    answered_at, spans = talk_of(timed)
    held = [span for one in statements for span in one.held]
    is_known = bool(timed) if answered else is_over
    return TalkTimes(
        answered_at,
        total_seconds(_without(spans, held)) if is_known else None,
        timed[0][0] if timed else None,
    )


def hold_seconds(statements: Sequence[Statement]) -> float | None:
    """Return how long the call was on hold; only events tell it."""
    events = [one for one in statements if not one.is_record]
    return total_seconds([span for one in events for span in one.held]) if events else None


def ring_seconds(
    statements: Sequence[Statement],
    records: Sequence[Statement],
    sides: Sides,
    answered_at: datetime | None,
) -> float | None:
    """Return how long people's phones rang before somebody answered; None if no witness tells it."""
    rang = [span for one in statements for line in one.lines if line.role in _CALLED for span in line.rang]
    if answered_at:
        rang = [(start, min(end, answered_at)) for start, end in rang if start < answered_at]
    # Events that saw the whole call, and no ringing, know better than a record.
    saw_all = any(one.saw_start and not one.is_partial for one in statements)
    by_records = None if saw_all else _rang_by_records(records, sides, answered_at)
    if by_records is not None:
        return by_records
    return total_seconds(rang) if rang else None


def _rang_by_records(
    records: Sequence[Statement], sides: Sides, answered_at: datetime | None
) -> float | None:
    """Return how long a phone rang that was called at its own number: nothing else came before."""
    first = first_told(records)
    for one in records:
        called = next((line for line in one.lines if line.role is Role.CALLED and line.is_own), None)
        if called is None or not is_same_moment(called.answered_at, answered_at):
            continue
        is_direct = sides.is_known_same(one.callee, called.side)
        is_first = first is not None and one.started_at == first.started_at
        if called.answered_at is not None and one.started_at is not None and is_direct and is_first:
            return (called.answered_at - one.started_at).total_seconds()
        return None
    return None


def _without(spans: Iterable[Span], cuts: Iterable[Span]) -> list[Span]:
    """Return the spans with the cuts taken out."""
    left: list[Span] = []
    taken = join_spans(cuts)
    place = 0
    for start, end in join_spans(spans):
        while place < len(taken) and taken[place][0] < end:
            cut_start, cut_end = taken[place]
            if start < cut_start:
                left.append((start, cut_start))
            start = max(start, cut_end)
            if cut_end > end:
                break  # the next span is cut as well
            place += 1
        if start < end:
            left.append((start, end))
    return left
