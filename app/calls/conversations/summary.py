"""What the calls of a conversation amount to: its outcome, and how long people talked. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.calls.main_calls.rule import Member, Standing
from app.calls.model import LinkKind, Outcome, Stage


@dataclass(frozen=True, slots=True)
class Part:
    """A call of a conversation, with what the sums depend on. `related`: as the call shows it."""

    member: Member
    stage: str
    talk_seconds: float | None
    related: Sequence[dict[str, Any]]


def outcome_of(main: Part, parts: Sequence[Part]) -> str:
    """Return the outcome of a conversation: that of its main call.

    While one of its calls goes on, it is in progress. A customer whom somebody picked up elsewhere was
    answered, though nobody answered the call itself.
    """
    if any(part.stage == Stage.LIVE for part in parts):
        return Outcome.IN_PROGRESS
    answered = {part.member.call_id for part in parts if part.member.outcome == Outcome.ANSWERED}
    picked_up = {link["callId"] for link in main.related if link["kind"] == LinkKind.PICKUP}
    return Outcome.ANSWERED if answered & picked_up else main.member.outcome


def talk_seconds_of(main: Part, parts: Sequence[Part]) -> float | None:
    """Return the talk time of all calls together; None while none is known.

    Sessions that only serve another one do not count: people talk in both at the same time.
    """
    known = [
        part.talk_seconds
        for part in parts
        if part.talk_seconds is not None and (part is main or part.member.standing is not Standing.SIDE)
    ]
    return round(sum(known), 3) if known else None
