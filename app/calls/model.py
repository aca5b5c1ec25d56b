"""A call as we keep it, and the order of its stages. No I/O."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from app.ids import AccountId, CallId

NO_SESSION = "sessionId:"
"""Prefix of the key of a call whose `telephonySessionId` nobody has told us yet."""


class Stage(StrEnum):
    """How far a call has come. Never backwards, but for a revived call: ended -> live."""

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
    """What became of a call, in one closed set; RingCentral's own word stands beside it as `result`."""

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


class Source(StrEnum):
    """Who said it."""

    WEBHOOK = "webhook"
    ACTIVE_CALLS = "active-calls"
    CALL_LOG = "call-log"
    SWEEP = "sweep"
    """The Call Log, of a call that no event had told of."""


def time_text(moment: datetime) -> str:
    """Return a point in time as all our JSON has it: RFC 3339, UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def reached(stage: str, wanted: str) -> bool:
    """Whether a call at `stage` has come as far as `wanted`; an absent call will come no further."""
    return _RANK[Stage(stage)] >= _RANK[Stage(wanted)]


@dataclass(slots=True, kw_only=True)
class Call:
    """One row of `calls`; the table says what each field is. Changed only through a `Ledger`."""

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
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: int | None = None
    has_recording: bool = False
    parties: list[dict[str, Any]] = field(default_factory=list)
    related: list[dict[str, Any]] = field(default_factory=list)
    conversation_id: str | None = None
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
        """Say how far a part is: `pending`, `ready`, `none`, `expired`; keeps since when, and why if told."""
        present = self.readiness.get(part, {})
        if (present.get("state"), present.get("reason")) != (state, reason):
            said = {"state": state, "since": time_text(now)} | ({"reason": reason} if reason else {})
            self.readiness = {**self.readiness, part: said}

    def awaits(self, part: str) -> bool:
        """Whether a part may still become ready."""
        return bool(self.readiness.get(part, {}).get("state") == "pending")

    def reached(self, stage: str) -> bool:
        return reached(self.stage, stage)
