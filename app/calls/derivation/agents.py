"""The people of the company in a call, in order. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from app.calls.derivation.answers import Answers, talk_of, talked_spans
from app.calls.derivation.sides import Sides, Where
from app.calls.evidence.facts import Endpoint
from app.calls.evidence.party_view import total_seconds
from app.calls.evidence.people import Person
from app.calls.evidence.statements import Line, Role, Statement
from app.values.times import time_text

_LATE = datetime.max.replace(tzinfo=UTC)


class AgentRole(StrEnum):
    """What somebody of the company did in a call. Who placed a call that was answered has ANSWERED too."""

    ANSWERED = "answered"
    PLACED = "placed"
    """Placed a call that nobody answered."""

    RANG = "rang"
    TRANSFERRED_TO = "transferredTo"
    TRANSFERRED_FROM = "transferredFrom"
    SUPERVISED = "supervised"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAgent:
    """One person of the company in a call. `talk_seconds` is None where no witness tells it."""

    extension_id: str | None
    extension_number: str | None
    name: str | None
    email: str | None
    role: AgentRole
    has_placed: bool
    answered_at: datetime | None
    talk_seconds: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            "extensionId": self.extension_id,
            "extensionNumber": self.extension_number,
            "name": self.name,
            "email": self.email,
            "role": self.role.value,
            "answeredAt": time_text(self.answered_at),
            "talkSeconds": self.talk_seconds,
        }


def find_agents(
    statements: Sequence[Statement], sides: Sides, answers: Answers, *, is_answered: bool
) -> tuple[CallAgent, ...]:
    """Return who of the company took part, in the order in which they came."""
    lines: dict[str, list[tuple[Statement, Line]]] = {}
    machines: set[str] = set()
    for statement in statements:
        for line in statement.lines:
            if line.role is Role.MACHINE and not _is_surely_person(statement, line, sides):
                machines.add(sides.key(line.side))
            key = _person_key(line, sides)
            if key is not None:
                lines.setdefault(key, []).append((statement, line))
    answered = answers.answered() if is_answered else {}
    found = [
        (_place(agent, claims), agent)
        for key, claims in lines.items()
        if (key not in machines or key in answered)
        and (agent := _agent(key, claims, sides, answered)) is not None
    ]
    return tuple(agent for _, agent in sorted(found, key=lambda item: item[0]))


def _is_surely_person(statement: Statement, line: Line, sides: Sides) -> bool:
    """Whether what looks like a queue does so only because events are missing: the directory knows."""
    person = sides.person(line.side) if statement.is_partial else None
    return person is not None and person.kind is not None and person.is_person


def owner_of(agents: Iterable[CallAgent]) -> CallAgent | None:
    """Return whose call it is: who placed it, else who answered first."""
    took = [one for one in agents if one.has_placed or one.role not in (AgentRole.RANG, AgentRole.SUPERVISED)]
    return min(took, key=lambda one: (not one.has_placed, one.answered_at or _LATE), default=None)


def _person_key(line: Line, sides: Sides) -> str | None:
    """Return the key of the person of the company on a line; None for anybody else and for machines."""
    if line.role in (Role.MACHINE, Role.JOINED):
        return None
    if line.role is Role.SIDE_ATTEMPT:
        owner = line.owner or sides.owner_of(line.side)
        return f"extension:{owner}" if owner else None
    key = sides.key(line.side)
    is_named = key.startswith(("extension:", "short:"))
    return key if is_named and sides.where(line.side) is Where.INSIDE else None


def _agent(
    key: str,
    claims: Sequence[tuple[Statement, Line]],
    sides: Sides,
    answered: Mapping[str, list[tuple[Statement, Line]]],
) -> CallAgent | None:
    person = _person(key, sides)
    if person is not None and not person.is_person:
        return None
    has_placed = any(line.role is Role.CALLER for _, line in claims)
    # Who placed the call talks from when anybody answers.
    heard = (
        [claim for several in answered.values() for claim in several] if has_placed else answered.get(key, ())
    )
    answered_at, spans = talk_of(talked_spans(heard))
    role = _role(key, claims, answered)
    if role is None:
        return None
    side = _described(claims, person)
    return CallAgent(
        extension_id=key.removeprefix("extension:") if key.startswith("extension:") else None,
        extension_number=side.extension_number,
        name=side.name,
        email=person.email if person else None,
        role=role,
        has_placed=has_placed,
        answered_at=answered_at,
        talk_seconds=total_seconds(spans) if spans else None,
    )


def _person(key: str, sides: Sides) -> Person | None:
    return sides.company.people.get(key.removeprefix("extension:"))


def _role(
    key: str,
    claims: Sequence[tuple[Statement, Line]],
    answered: Mapping[str, list[tuple[Statement, Line]]],
) -> AgentRole | None:
    lines = [line for _, line in claims]
    roles = {line.role for line in lines}
    if Role.SUPERVISOR in roles:
        return AgentRole.SUPERVISED
    has_placed = Role.CALLER in roles
    if has_placed and not answered:
        return AgentRole.PLACED
    if has_placed or key in answered:
        if any(line.handed_on for line in lines):
            return AgentRole.TRANSFERRED_FROM
        return AgentRole.TRANSFERRED_TO if Role.HANDED_TO in roles else AgentRole.ANSWERED
    if Role.HANDED_TO in roles:
        return AgentRole.TRANSFERRED_TO
    has_rung = any(line.has_rung or line.role is Role.SIDE_ATTEMPT or line.answered for line in lines)
    is_called = any(statement.is_record and line.role is Role.CALLED for statement, line in claims)
    return AgentRole.RANG if has_rung or is_called else None


def _described(claims: Sequence[tuple[Statement, Line]], person: Person | None) -> Endpoint:
    side = Endpoint(
        name=person.name if person else None, extension_number=person.extension_number if person else None
    )
    # A side attempt shows a phone outside, not the person who was sought.
    own = [(s, line) for s, line in claims if line.role is not Role.SIDE_ATTEMPT]
    for _, line in sorted(own, key=lambda claim: (claim[0].is_record, claim[0].key)):
        side = side.or_else(Endpoint(name=line.side.name, extension_number=line.side.extension_number))
    return side


def _place(agent: CallAgent, claims: Sequence[tuple[Statement, Line]]) -> tuple[bool, datetime, str]:
    """Return where in the order somebody comes. A record begins with the call, not with their phone."""
    seen = [line.began_at for statement, line in claims if line.began_at and not statement.is_record]
    began = seen or [line.began_at for _, line in claims if line.began_at]
    number = agent.extension_number or agent.extension_id or ""
    return (not agent.has_placed, min(began, default=_LATE), number)
