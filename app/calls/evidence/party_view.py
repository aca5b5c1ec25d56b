"""One party of a call, as the call's events show it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.calls.evidence.facts import TERMINAL, Code, Endpoint, Peer, Stream, known_code
from app.values.times import time_text

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Moment:
    """A party entered a state. `code` and `reason` as they came."""

    code: str
    reason: str | None
    at: datetime
    received_at: datetime
    source: Stream
    known: Code | None = field(init=False, compare=False, repr=False)
    """What `code` means. Read often, so it is found once, like `terminal`."""
    terminal: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        known = known_code(self.code)
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "terminal", known in TERMINAL)


@dataclass(frozen=True, slots=True)
class PartyView:
    """One party with everything its facts say; the latest fact decides each field.

    `ended_at` is None while the party is alive, `end_reason` is why it left. `first_at` and `last_at` are the
    times of the first and last event that named it. A party whose events never gave a state has no history
    and counts neither as alive nor as gone.
    """

    id: str
    ordinal: int | None
    account_id: str | None
    extension_id: str | None
    direction: str | None
    from_: Endpoint
    to: Endpoint
    queue_call: bool
    missed_call: bool
    conference_role: str | None
    ring_out_role: str | None
    park_id: str | None
    peer: Peer
    history: tuple[Moment, ...]
    first_at: datetime
    last_at: datetime
    end_reason: str | None

    @property
    def code(self) -> str | None:
        """The current state, raw."""
        return self.history[-1].code if self.history else None

    @property
    def known(self) -> Code | None:
        return self.history[-1].known if self.history else None

    @property
    def terminal(self) -> bool:
        return bool(self.history) and self.history[-1].terminal

    @property
    def alive(self) -> bool:
        return bool(self.history) and not self.history[-1].terminal

    @property
    def ended_at(self) -> datetime | None:
        return self.history[-1].at if self.terminal else None

    @property
    def is_presence_only(self) -> bool:
        """Whether the session stream told nothing of the party's states."""
        return all(moment.source is Stream.PRESENCE for moment in self.history)

    @property
    def outbound(self) -> bool:
        return (self.direction or "").lower() == "outbound"

    @property
    def answered_at(self) -> datetime | None:
        return self.first(Code.ANSWERED)

    @property
    def reached_voicemail(self) -> bool:
        return bool(self.first(Code.VOICEMAIL, Code.VOICEMAIL_SCREENING)) or same(
            self.end_reason, "Voicemail"
        )

    def first(self, *codes: Code) -> datetime | None:
        return next((moment.at for moment in self.history if moment.known in codes), None)

    def spans(self, *codes: Code) -> list[Span]:
        """Return the times spent in these states; an open span lasts until the party's last event."""
        ends = [moment.at for moment in self.history[1:]] + [self.last_at]
        return [
            (moment.at, end)
            for moment, end in zip(self.history, ends, strict=False)
            if moment.known in codes and end > moment.at
        ]

    def ringing(self) -> list[Span]:
        """Return when the party rang: in Proceeding. In Setup, call-handling rules run and no phone rings."""
        return self.spans(Code.PROCEEDING)

    @property
    def number(self) -> str | None:
        """The raw number that the party was called at, or that the caller's party calls from."""
        return self.from_.phone_number if self.outbound else self.to.phone_number

    def to_json(self) -> dict[str, Any]:
        """Return the party as the API shows it, in camelCase, without unknown fields."""
        ringing = self.ringing()
        full: dict[str, Any] = {
            "id": self.id,
            "extensionId": self.extension_id,
            "direction": self.direction,
            "from": endpoint_json(self.from_),
            "to": endpoint_json(self.to),
            "status": self.code,
            "reason": self.end_reason,
            "queueCall": self.queue_call or None,
            "missedCall": self.missed_call or None,
            "conferenceRole": self.conference_role,
            "ringOutRole": self.ring_out_role,
            "parkId": self.park_id,
            "answeredAt": _json_time(self.answered_at),
            "endedAt": _json_time(self.ended_at),
            "ringSeconds": total_seconds(ringing) if ringing else None,
            "talkSeconds": total_seconds(self.spans(Code.ANSWERED)) if self.answered_at else None,
            "holdSeconds": total_seconds(self.spans(Code.HOLD)) or None,
            "history": [
                {"status": moment.code, "reason": moment.reason, "at": _json_time(moment.at)}
                if moment.reason
                else {"status": moment.code, "at": _json_time(moment.at)}
                for moment in self.history
            ],
        }
        return {key: value for key, value in full.items() if value is not None}


def same(raw: str | None, word: str) -> bool:
    """Whether a raw enum value is this word, in any case: that differs between RingCentral's releases."""
    return raw is not None and raw.lower() == word.lower()


def endpoint_json(side: Endpoint) -> dict[str, str] | None:
    """Return one side of a call under RingCentral's field names, None if nothing is known about it."""
    full = {"phoneNumber": side.phone_number, "name": side.name, "extensionId": side.extension_id}
    return {key: value for key, value in full.items() if value} or None


def total_seconds(spans: Iterable[Span]) -> float:
    """Return how long the spans last together; overlaps count once."""
    return round(sum((end - start).total_seconds() for start, end in join_spans(spans)), 6) or 0.0


def join_spans(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in order, with overlapping ones merged."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _json_time(when: datetime | None) -> str | None:
    return time_text(when) if when else None
