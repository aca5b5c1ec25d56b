"""A call as it is stored, and the order of its stages. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from itertools import chain
from typing import Any

from app.ids import AccountId, CallId
from app.values.times import time_text

NO_SESSION = "sessionId:"
"""Prefix of the key of a call whose `telephonySessionId` is not known yet."""


RECORDS_END = "recordsEnd"
"""Key in a call's details: the latest end that its records gave."""


class Stage(StrEnum):
    """The progress of a call. It never goes back, except for a revived call: ended -> live."""

    LIVE = "live"
    ENDED = "ended"
    BOOTSTRAPPED = "bootstrapped"
    RECONCILED = "reconciled"
    FINAL = "final"
    ABSENT = "absent"


_RANK = {
    Stage.LIVE: 0,
    Stage.ENDED: 1,
    Stage.BOOTSTRAPPED: 2,
    Stage.RECONCILED: 3,
    Stage.FINAL: 4,
    Stage.ABSENT: 4,
}


class Outcome(StrEnum):
    """The outcome of a call, as a closed set; `result` has RingCentral's own word."""

    IN_PROGRESS = "inProgress"
    ANSWERED = "answered"
    MISSED = "missed"
    VOICEMAIL = "voicemail"
    ABANDONED = "abandoned"
    BUSY = "busy"
    NO_ANSWER = "noAnswer"
    REJECTED = "rejected"
    BLOCKED = "blocked"
    FAILED = "failed"
    FAX = "fax"
    UNKNOWN = "unknown"

    @property
    def words(self) -> str:
        """The outcome as people read it, such as `No answer`."""
        return "".join(f" {one.lower()}" if one.isupper() else one for one in self.value).capitalize()


class Source(StrEnum):
    """Where a call or a record was found."""

    WEBHOOK = "webhook"
    ACTIVE_CALLS = "active-calls"
    CALL_LOG = "call-log"
    SWEEP = "sweep"
    """The Call Log, for a call that no event announced."""


NO_CALLS = frozenset({"greetings-recording", "verification-call", "test-call"})
"""The `absent_reason` of sessions that are not calls."""


SIDE_ACTIONS = frozenset({"conference call", "monitoring", "silentmonitoring", "barge in call"})
"""The actions, in lower case, of records that stand beside a call: of a conference or of a supervisor."""


class LinkKind(StrEnum):
    """How two sessions are related. `LINKED`: RingCentral does not say how."""

    ATTENDED_TRANSFER = "attendedTransfer"
    CONFERENCE = "conference"
    PICKUP = "pickup"
    SUPERVISING = "supervising"
    RING_OUT = "ringOut"
    LINKED = "linked"


class ReadinessState(StrEnum):
    """The state of one part of a call: its record, its legs, its recordings, its insights."""

    PENDING = "pending"
    READY = "ready"
    NONE = "none"
    EXPIRED = "expired"


def reached(stage: str, wanted: str) -> bool:
    """Whether a call at `stage` has reached `wanted`. An absent call counts as final."""
    return _RANK[Stage(stage)] >= _RANK[Stage(wanted)]


class _Remembering:
    """`stored` has the columns of an object's row as the database has them, by name; None if unknown.

    It is not a field: two objects that differ in it alone are equal.
    """

    __slots__ = ("_stored",)
    _stored: Mapping[str, Any]

    @property
    def stored(self) -> Mapping[str, Any] | None:
        return getattr(self, "_stored", None)

    @stored.setter
    def stored(self, columns: Mapping[str, Any]) -> None:
        self._stored = columns


@dataclass(slots=True, kw_only=True)
class Call(_Remembering):
    """One row of `calls`; the table documents each field. Changed only through a `Ledger`.

    Values of fields are replaced, never changed in place: the ledger writes the fields that differ from
    `stored`.
    """

    account_id: AccountId
    call_id: CallId
    telephony_session_id: str
    session_id: str | None = None
    stage: str = Stage.LIVE
    absent_reason: str | None = None
    version: int = 0
    changed_seq: int = 0
    direction: str | None = None
    internal: bool | None = None
    outcome: str = Outcome.IN_PROGRESS
    result: str | None = None
    action: str | None = None
    caller: dict[str, Any] | None = None
    callee: dict[str, Any] | None = None
    external_number: str | None = None
    queue_name: str | None = None
    agent_extension_id: str | None = None
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: int | None = None
    has_recording: bool = False
    parties: list[dict[str, Any]] = field(default_factory=list)
    related: list[dict[str, Any]] = field(default_factory=list)
    conversation_id: str | None = None
    main_call_id: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    facts: Any = field(default_factory=list)
    primary_record_id: str | None = None
    readiness: dict[str, Any] = field(default_factory=dict)
    source: str = Source.WEBHOOK
    end_check_at: datetime | None = None
    ask_at: datetime | None = None
    state_known_at: datetime | None = None
    end_known_at: datetime | None = None
    window_closes_at: datetime | None = None
    read_at: datetime | None = None
    reads: int = 0
    record_digest: str | None = None
    record_unchanged_since: datetime | None = None
    insights_at: datetime | None = None
    bootstrapped_at: datetime | None = None
    bootstrapped_by: str | None = None
    looks: int = 0
    last_missed_at: datetime | None = None
    created_at: datetime
    updated_at: datetime

    def ready(self, part: str, state: str, now: datetime, reason: str | None = None) -> None:
        """Set the state of a part (a `ReadinessState`), since when, and a reason if there is one."""
        current = self.readiness.get(part, {})
        if (current.get("state"), current.get("reason")) != (state, reason):
            new = {"state": ReadinessState(state), "since": time_text(now)}
            self.readiness = {**self.readiness, part: new | ({"reason": reason} if reason else {})}

    def awaits(self, part: str) -> bool:
        """Whether a part may still become ready."""
        return bool(self.readiness.get(part, {}).get("state") == ReadinessState.PENDING)

    def reached(self, stage: str) -> bool:
        return reached(self.stage, stage)


KEYS = ("account_id", "call_id")

_COLUMNS = tuple(item.name for item in fields(Call))
_KEPT = frozenset({*KEYS, "main_call_id"})
"""Columns that a changed call does not overwrite: the main call is chosen at the end of a transaction."""

_WIDE = (("facts",), ("parties", "details"), ("caller", "callee", "related", "readiness"))
_PROGRESS = (
    "version", "changed_seq", "updated_at", "outcome", "answered_at", "end_check_at", "state_known_at",
)  # fmt: skip
_OTHERS = tuple(
    name for name in _COLUMNS if name not in _KEPT.union(_PROGRESS) and name not in chain.from_iterable(_WIDE)
)
_WRITTEN_TOGETHER = (_PROGRESS, _OTHERS, *_WIDE)
"""Columns that change together. Each combination of groups is a statement of its own, so there are few of
them; wide columns are written only if they have changed."""


def row_of(call: Call) -> dict[str, Any]:
    """Return all columns of a call, by name."""
    return {name: getattr(call, name) for name in _COLUMNS}


def columns_to_write(call: Call, stored: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the columns that differ from what is stored, with those that are written together with them.

    All that a call may change, if what is stored is unknown.
    """
    return tuple(
        name
        for group in _WRITTEN_TOGETHER
        if stored is None or any(getattr(call, name) != stored[name] for name in group)
        for name in group
    )
