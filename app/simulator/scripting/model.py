"""The parts of a scripted call: plain values from which every view is computed. No I/O, no clock.

A call is planned completely when it starts: all party events and every stage of every record, each with its
time. What active calls, the call log or a webhook shows at a given time follows from this plan alone.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Json = dict[str, Any]
"""A JSON object in a request or response body."""

IN_PROGRESS = "In Progress"
AUTOMATIC = "Automatic"
ON_DEMAND = "OnDemand"


@dataclass(frozen=True, slots=True)
class CallSummary:
    """The fields of a record or leg that are provisional until the call has ended.

    `duration` is in whole real seconds, None during the call.
    """

    direction: str
    action: str
    result: str
    sender: Json
    receiver: Json
    duration: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of a record. The legs of a record are listed in the order of their setup."""

    started_at: datetime
    summary: CallSummary
    extension_id: str | None
    leg_type: str
    transport: str
    master: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """The content of a record from the time `at` on."""

    at: datetime
    summary: CallSummary
    legs: tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class Draws:
    """Random numbers of one record, each in [0, 1), drawn once so that views stay pure functions of the time.

    `lags` has one number per stage, in order. `quirk` selects small variations of form.
    """

    lags: tuple[float, ...]
    log_delay: float
    straggler: float
    straggler_delay: float
    provisional: float
    provisional_kind: float
    correction: float
    correction_delay: float
    media_delay: float
    attach_delay: float
    quirk: float


@dataclass(frozen=True, slots=True)
class Session:
    """One telephony session. `session_id` is the numeric id, "0" for conferences."""

    telephony_session_id: str
    session_id: str
    origin: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that the platform keeps. `seconds` is its length in real seconds."""

    id: str
    telephony_session_id: str
    extension_id: str | None
    started_at: datetime
    ended_at: datetime
    seconds: float
    kind: str = AUTOMATIC


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """The recordings of one record.

    `kept`: the recordings that can be fetched later, in order of their start. `too_short`: the record states
    that a recording was too short to be kept.
    """

    kept: tuple[Recording, ...] = ()
    too_short: bool = False

    def __add__(self, later: "RecordingResult") -> "RecordingResult":
        return RecordingResult(self.kept + later.kept, self.too_short or later.too_short)


NO_RECORDING = RecordingResult()
"""The call was not recorded."""


@dataclass(frozen=True, slots=True)
class Record:
    """One call-log record with all its stages: one extension's view of one session.

    The last stage is final. Its `at` is the time at which this extension left the call, which can be earlier
    than the end of the session. `speed` is the factor with which the call was planned.
    """

    id: str
    session: Session
    extension_id: str
    stages: tuple[Stage, ...]
    draws: Draws
    speed: float
    recordings: RecordingResult = NO_RECORDING
    message_id: str | None = None
    transfer_target: str | None = None
    transferee: str | None = None
    true_names: dict[str, str] = field(default_factory=dict)
    """Maps a caller's number to the name that a later look-up fills in."""

    @property
    def started_at(self) -> datetime:
        return self.stages[0].at

    @property
    def final(self) -> Stage:
        return self.stages[-1]

    def after(self, moment: datetime, seconds: float) -> datetime:
        """Add simulated seconds to a point in time."""
        return moment + timedelta(seconds=seconds / self.speed)


@dataclass(frozen=True, slots=True)
class PartyEvent:
    """One change of one party, as the telephony session stream reports it.

    `party` is the JSON of the party. `delivered` is False for an event that the platform loses.
    """

    at: datetime
    session: Session
    sequence: int
    extension_id: str | None
    party: Json
    delivered: bool = True


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """One call as its script planned it. `events` are in order of time."""

    id: str
    script: str
    speed: float
    sessions: tuple[Session, ...]
    events: tuple[PartyEvent, ...]
    records: tuple[Record, ...]
    recordings: tuple[Recording, ...]

    @property
    def started_at(self) -> datetime:
        return min(session.started_at for session in self.sessions)

    @property
    def ended_at(self) -> datetime:
        return max(session.ended_at for session in self.sessions)
