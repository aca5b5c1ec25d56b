"""Facts: what one event says about one party, and the set of all facts of a call.

Notifications arrive late, twice and out of order (guide "Receiving webhooks"), so they are never applied to a
state one by one. Facts are collected in a set, and everything about a call is computed from the whole set.
The order, the number of repetitions and the batches in which its members came make no difference.

Does no input or output and reads no clock.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

FIRST_FACTS = 500
LAST_FACTS = 1500
"""Of a call with more facts than this together, the first and the last are kept: its beginning and its
end."""

EXTENSION_PARTY = "ext:"
"""Prefix of the name that we give to a party whose id is missing in an event; its extension id follows."""


class Stream(StrEnum):
    """The stream that a fact came from. The session stream is more reliable than presence."""

    TELEPHONY = "telephony"
    PRESENCE = "presence"


class Code(StrEnum):
    """Party states that decisions depend on (RingCentral's API description, `CallStatusInfo`)."""

    SETUP = "Setup"
    PROCEEDING = "Proceeding"
    ANSWERED = "Answered"
    HOLD = "Hold"
    PARKED = "Parked"
    VOICEMAIL = "VoiceMail"
    VOICEMAIL_SCREENING = "VoiceMailScreening"
    DISCONNECTED = "Disconnected"
    GONE = "Gone"


TERMINAL = frozenset({Code.DISCONNECTED, Code.GONE})
"""All other codes, unknown ones too, mean that the party is alive."""

_CODES = {code.lower(): code for code in Code} | {"vmscreening": Code.VOICEMAIL_SCREENING}


@lru_cache(maxsize=256)
def known_code(raw: str | None) -> Code | None:
    """Return the state that a raw code means, None when no decision depends on it.

    Case and spelling differ between RingCentral's releases: `Voicemail`, `VoiceMail`, `VMScreening`.
    """
    return _CODES.get(raw.lower()) if raw else None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One side of a call as a witness shows it, any field missing. `phone_number` is raw: it can be a short
    number or a word."""

    phone_number: str | None = None
    name: str | None = None
    extension_id: str | None = None
    extension_number: str | None = None
    location: str | None = None

    def __bool__(self) -> bool:
        return bool(self.phone_number or self.name or self.extension_id or self.extension_number)

    @property
    def has_identity(self) -> bool:
        """Whether the side says who it is, by more than a name."""
        return bool(self.phone_number or self.extension_id or self.extension_number)

    def or_else(self, other: "Endpoint") -> "Endpoint":
        """Return this endpoint with its gaps filled from `other`."""
        return Endpoint(
            self.phone_number or other.phone_number,
            self.name or other.name,
            self.extension_id or other.extension_id,
            self.extension_number or other.extension_number,
            self.location or other.location,
        )


NOBODY = Endpoint()


@dataclass(frozen=True, slots=True)
class Peer:
    """The linked session that a party moved to."""

    session_id: str | None = None
    telephony_session_id: str | None = None
    party_id: str | None = None

    def __bool__(self) -> bool:
        return bool(self.session_id or self.telephony_session_id)


@dataclass(frozen=True, slots=True)
class Announced:
    """A recording that an event announces; `active` while it is running."""

    id: str
    active: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One party of one event. `uuid` and `part`, its place in the event, are its identity.

    `event_time` is the moment of this change, despite what the API description says; where an event has none,
    it is the time of sending or of arrival. Texts, enum values included, are raw. Points in time are aware
    UTC.
    """

    source: Stream
    uuid: str
    part: int
    received_at: datetime
    event_time: datetime
    party_id: str
    sequence: int | None = None
    """Order within the telephony session; for presence, within the extension's presence changes."""
    session_id: str | None = None
    telephony_session_id: str | None = None
    origin: str | None = None
    account_id: str | None = None
    extension_id: str | None = None
    direction: str | None = None
    """Relative to the session: the caller's party is Outbound, called parties are Inbound."""
    from_: Endpoint = Endpoint()
    to: Endpoint = Endpoint()
    code: str | None = None
    reason: str | None = None
    peer: Peer = Peer()
    park_id: str | None = None
    queue_call: bool | None = None
    missed_call: bool | None = None
    conference_role: str | None = None
    ring_out_role: str | None = None
    """Initiator or Target, of a RingOut call that is one session."""
    park_data: str | None = None
    on_behalf_of: str | None = None
    """The extension id or name of the person for whom an assistant acts."""
    recordings: tuple[Announced, ...] = ()
    queue_name: str | None = None
    caller_name: str | None = None
    started_at: datetime | None = None
    """The call's start, which only presence events have."""

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.source, self.uuid, self.part)

    def to_json(self) -> dict[str, Any]:
        """Return the compact form that is stored: short keys, nothing that is empty."""
        full: dict[str, Any] = {
            "s": _SOURCE_LETTERS[self.source],
            "u": self.uuid,
            "i": self.part or None,
            "r": _time_text(self.received_at),
            "t": _time_text(self.event_time),
            "p": self.party_id,
            "n": self.sequence,
            "sid": self.session_id,
            "tid": self.telephony_session_id,
            "o": self.origin,
            "a": self.account_id,
            "x": self.extension_id,
            "d": self.direction,
            "from": _trimmed(self.from_.phone_number, self.from_.name, self.from_.extension_id),
            "to": _trimmed(self.to.phone_number, self.to.name, self.to.extension_id),
            "c": self.code,
            "w": self.reason,
            "peer": _trimmed(self.peer.session_id, self.peer.telephony_session_id, self.peer.party_id),
            "park": self.park_id,
            "q": self.queue_call,
            "m": self.missed_call,
            "role": self.conference_role,
            "ro": self.ring_out_role,
            "pd": self.park_data,
            "ob": self.on_behalf_of,
            "rec": [_trimmed(recording.id, recording.active) for recording in self.recordings],
            "qn": self.queue_name,
            "cn": self.caller_name,
            "b": _time_text(self.started_at) if self.started_at else None,
        }
        return {key: value for key, value in full.items() if value is not None and value != []}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Fact":
        """Undo `to_json`. Raises KeyError or ValueError for anything else."""
        started_at = stored.get("b")
        return cls(
            source=_SOURCES[stored["s"]],
            uuid=stored["u"],
            part=stored.get("i", 0),
            received_at=datetime.fromisoformat(stored["r"]),
            event_time=datetime.fromisoformat(stored["t"]),
            party_id=stored["p"],
            sequence=stored.get("n"),
            session_id=stored.get("sid"),
            telephony_session_id=stored.get("tid"),
            origin=stored.get("o"),
            account_id=stored.get("a"),
            extension_id=stored.get("x"),
            direction=stored.get("d"),
            from_=Endpoint(*stored.get("from", ())),
            to=Endpoint(*stored.get("to", ())),
            code=stored.get("c"),
            reason=stored.get("w"),
            peer=Peer(*stored.get("peer", ())),
            park_id=stored.get("park"),
            queue_call=stored.get("q"),
            missed_call=stored.get("m"),
            conference_role=stored.get("role"),
            ring_out_role=stored.get("ro"),
            park_data=stored.get("pd"),
            on_behalf_of=stored.get("ob"),
            recordings=tuple(Announced(*recording) for recording in stored.get("rec", ())),
            queue_name=stored.get("qn"),
            caller_name=stored.get("cn"),
            started_at=datetime.fromisoformat(started_at) if started_at else None,
        )


_SOURCE_LETTERS = {Stream.TELEPHONY: "t", Stream.PRESENCE: "p"}
_SOURCES = {letter: source for source, letter in _SOURCE_LETTERS.items()}


def _time_text(when: datetime) -> str:
    short = "auto" if when.microsecond % 1000 else "milliseconds"
    return when.astimezone(UTC).isoformat(timespec=short).replace("+00:00", "Z")


def _trimmed(*values: Any) -> list[Any]:
    """Return the values as a list without the trailing None values."""
    kept = list(values)
    while kept and kept[-1] is None:
        kept.pop()
    return kept


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """All facts of one call, each once, in an order of their own. Made by `of`, extended by `union`."""

    facts: tuple[Fact, ...] = ()

    @classmethod
    def of(cls, facts: Iterable[Fact]) -> "SessionFacts":
        """Collect facts. A repeated fact counts as received when it came first."""
        by_key: dict[tuple[str, str, int], Fact] = {}
        for fact in facts:
            known = by_key.get(fact.key)
            by_key[fact.key] = fact if known is None else _earlier(known, fact)
        # Cut after sorting, so that the result does not depend on the order of arrival.
        ordered = sorted(by_key.values(), key=_place)
        if len(ordered) > FIRST_FACTS + LAST_FACTS:
            ordered = ordered[:FIRST_FACTS] + ordered[-LAST_FACTS:]
        return cls(tuple(ordered))

    def union(self, more: "SessionFacts | Iterable[Fact]") -> "SessionFacts":
        """Return both sets as one. Idempotent, commutative and associative.

        This holds beyond the limit too: the first and last facts of a whole are among those of its parts.
        """
        return SessionFacts.of((*self.facts, *more))

    def to_json(self) -> list[dict[str, Any]]:
        return [fact.to_json() for fact in self.facts]

    @classmethod
    def from_json(cls, stored: Sequence[Mapping[str, Any]]) -> "SessionFacts":
        """Undo `to_json`. Raises KeyError or ValueError for anything else."""
        return cls.of(Fact.from_json(fact) for fact in stored)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts)

    def __len__(self) -> int:
        return len(self.facts)


def known_until(facts: SessionFacts, answered_at: datetime | None) -> datetime | None:
    """Return until when the call is known to go on, by its events and a response from `answered_at`.

    Only moments after the last goodbye of a party count: if the goodbye of another party was lost, nothing
    else would show that the call is over now.
    """
    left_at = max((fact.event_time for fact in facts if known_code(fact.code) in TERMINAL), default=None)
    seen_at = max((fact.event_time for fact in facts if known_code(fact.code) not in TERMINAL), default=None)
    moments = [moment for moment in (seen_at, answered_at) if moment is not None]
    return max((moment for moment in moments if left_at is None or moment > left_at), default=None)


def _earlier(one: Fact, other: Fact) -> Fact:
    """Choose between two versions of one fact, independent of their order."""
    if one == other:
        return one
    return min(one, other, key=lambda fact: (fact.received_at, json.dumps(fact.to_json(), sort_keys=True)))


def _place(fact: Fact) -> tuple[datetime, int, str, str, int]:
    return (fact.event_time, -1 if fact.sequence is None else fact.sequence, *fact.key)
