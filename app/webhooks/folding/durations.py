"""How long a call rang, was talked in and was on hold. Pure."""

from collections import deque
from collections.abc import Iterable

from app.webhooks.folding.call_view import PartyView, Span, _Cast, _joined, _seconds
from app.webhooks.payloads.facts import Code


def _ring_seconds(cast: _Cast, answered: PartyView | None) -> float | None:
    """Return how long people's telephones rang before somebody answered; None if none was seen ringing."""
    machines = cast.queues | cast.menus
    rang = [span for party in cast.called if party.id not in machines for span in party.ringing()]
    until = answered.answered_at if answered else None
    if until:
        rang = [(start, min(end, until)) for start, end in rang if start < until]
    return _seconds(rang) if rang else None


def _talk(cast: _Cast, answered: PartyView | None) -> list[Span]:
    talking = list(cast.humans()) or ([answered] if answered else [])
    return [span for party in talking for span in party.spans(Code.ANSWERED)]


def _hold(cast: _Cast) -> list[Span]:
    return [span for party in cast.parties for span in party.spans(Code.HOLD)]


def _without(spans: Iterable[Span], cuts: Iterable[Span]) -> list[Span]:
    """Return the spans with the cuts taken out."""
    left: list[Span] = []
    taken = deque(_joined(cuts))
    for start, end in _joined(spans):
        while taken and taken[0][0] < end:
            cut_start, cut_end = taken[0]
            if start < cut_start:
                left.append((start, cut_start))
            start = max(start, cut_end)
            if cut_end > end:
                break  # the next span is cut as well
            taken.popleft()
        if start < end:
            left.append((start, end))
    return left
