"""Which lines of a call somebody answered. Pure.

A record of an extension knows best whether its own phone was answered, then any other record, then events:
they show a voicemail box or a RingOut's first leg as Answered too.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.calls.derivation.sides import Sides, Where
from app.calls.evidence.party_view import Span, total_seconds
from app.calls.evidence.statements import Line, Role, Statement

FAR = "far"
"""The key of the outside side of a call from inside: witnesses may show its number in ways that differ."""

_ROUNDING_SECONDS = 2.0
"""How far a record's whole seconds are from the exact times of events."""

_ANSWERABLE = frozenset({Role.CALLED, Role.HANDED_TO, Role.SIDE_ATTEMPT, Role.CALLER})


@dataclass(slots=True)
class Answers:
    """The claims about each line, by the line's key, each with the statement that makes it."""

    claims: dict[str, list[tuple[Statement, Line]]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, statements: Sequence[Statement], sides: Sides, direction: str | None) -> "Answers":
        answers = cls()
        settled = [one for one in statements if one.is_settled]
        callers = {sides.key(line.side) for one in settled for line in one.lines if line.role is Role.CALLER}
        guesses = []
        for statement in statements:
            for line in statement.lines:
                # A menu can show as Answered in events.
                is_menu = not statement.is_record and sides.is_machine(line.side)
                if line.role not in _ANSWERABLE or is_menu:
                    continue
                key, claim = _key(line, sides, direction), (statement, line)
                if statement.is_partial and (key in callers or _may_be_machine(line, key, direction)):
                    guesses.append((key, claim))
                else:
                    answers.claims[key].append(claim)
        for key, claim in guesses if not settled or answers._is_answered_sometime() else ():
            answers.claims[key].append(claim)
        return answers

    def _is_answered_sometime(self) -> bool:
        """Whether the call was answered, and nobody tells when."""
        answered = [line for claims in self.answered().values() for _, line in claims]
        return bool(answered) and not any(line.answered_at for line in answered)

    def answered(self) -> dict[str, list[tuple[Statement, Line]]]:
        """Return the claims of the lines that somebody answered, without those that are refuted."""
        found = {}
        for key, claims in self.claims.items():
            known = [claim for claim in claims if claim[1].answered is not None]
            best = max((_rank(*claim) for claim in known), default=0)
            believed = [claim for claim in known if _rank(*claim) == best]
            if any(line.answered for _, line in believed):
                found[key] = [claim for claim in claims if claim[1].answered]
        return found


def _key(line: Line, sides: Sides, direction: str | None) -> str:
    if line.role is Role.SIDE_ATTEMPT:
        owner = line.owner or sides.owner_of(line.side)
        return f"extension:{owner}" if owner else f"side:{sides.key(line.side)}"
    is_outside = sides.where(line.side) is not Where.INSIDE
    if line.role is Role.CALLED and direction == "Outbound" and is_outside:
        return FAR
    return sides.key(line.side)


def _may_be_machine(line: Line, key: str, direction: str | None) -> bool:
    """Whether it may have been a voicemail box, a menu or an announcement that answered, where some events
    are missing: the caller was answered by nobody that is seen, or by a line that is nobody's.
    """
    if line.role is Role.CALLED and direction == "Inbound":
        return not key.startswith(("extension:", "short:"))
    return line.role is Role.CALLER


def _rank(statement: Statement, line: Line) -> int:
    """Rank a claim. What is known from during the call counts least, unless its end was seen: a voicemail box
    that answers shows as connected in the caller's record.
    """
    if not statement.is_settled:
        return 2 if line.answered is False and not statement.is_partial else 0
    # A phone outside that was answered is no contradiction to the missed call of the extension.
    return 3 if line.is_own or line.role is Role.SIDE_ATTEMPT else 1


def talked_spans(claims: Iterable[tuple[Statement, Line]]) -> list[tuple[Statement, Line]]:
    """Return the claims that give times: those of events, which are exact. If events are missing, one of them
    may have been an answer or an end: then records, which count whole seconds, have to agree.
    """
    timed = [claim for claim in claims if claim[1].talked or claim[1].answered_at]
    of_events = [claim for claim in timed if not claim[0].is_record]
    settled = [claim for claim in timed if claim[0].is_settled]
    is_doubtful = settled and all(statement.is_partial for statement, _ in of_events)
    if is_doubtful and not _are_same_times(of_events, settled):
        return settled
    return of_events or timed


def talk_of(claims: Iterable[tuple[Statement, Line]]) -> tuple[datetime | None, list[Span]]:
    """Return when the first of some lines was answered, and when people talked on them."""
    lines = [line for _, line in claims]
    answered_at = min((line.answered_at for line in lines if line.answered_at), default=None)
    return answered_at, [span for line in lines for span in line.talked]


def _are_same_times(some: Iterable[tuple[Statement, Line]], others: Iterable[tuple[Statement, Line]]) -> bool:
    (begin, spans), (other_begin, other_spans) = talk_of(some), talk_of(others)
    apart = abs(total_seconds(spans) - total_seconds(other_spans))
    return is_same_moment(begin, other_begin) and apart <= _ROUNDING_SECONDS


def is_same_moment(one: datetime | None, other: datetime | None) -> bool:
    """Whether a record and events mean the same moment: one of them counts whole seconds."""
    return one is not None and other is not None and abs((one - other).total_seconds()) <= _ROUNDING_SECONDS
