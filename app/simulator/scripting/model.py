"""What a scripted call consists of: plain values that every view is computed from. No I/O, no clock.

A call is planned wholly when it starts: all party events and every stage of every record, each with its
moment. What active calls, the call log or a webhook show at a moment follows from the plan alone.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Json = dict[str, Any]
"""A piece of an answer's body."""

IN_PROGRESS = "In Progress"
AUTOMATIC = "Automatic"
ON_DEMAND = "OnDemand"


@dataclass(frozen=True, slots=True)
class Face:
    """What a record or a leg says of a call: the fields that are provisional until the call is over.

    `duration` in whole wall-clock seconds, None while the call is going on.
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
    """One leg of a record; legs keep the order in which the platform set them up."""

    started_at: datetime
    face: Face
    extension_id: str | None
    leg_type: str
    transport: str
    master: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """From this moment on the record looks like this."""

    at: datetime
    face: Face
    legs: tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class Draws:
    """Chance of one record, each in [0, 1), drawn once so that views stay pure functions of the moment.

    `lags` belong to the stages, in order; `quirk` decides small variations of form.
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
    """One telephony session. `session_id` is the numeric one, "0" for conferences."""

    telephony_session_id: str
    session_id: str
    origin: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that the platform keeps; `seconds` is its length in wall-clock seconds."""

    id: str
    telephony_session_id: str
    extension_id: str | None
    started_at: datetime
    ended_at: datetime
    seconds: float
    kind: str = AUTOMATIC


@dataclass(frozen=True, slots=True)
class Sound:
    """What came of the recordings of one record.

    `kept`: those that can be heard later, in the order in which they began. `is_short`: the record says that one
    was too short to be kept.
    """

    kept: tuple[Recording, ...] = ()
    is_short: bool = False

    def __add__(self, later: "Sound") -> "Sound":
        return Sound(self.kept + later.kept, self.is_short or later.is_short)


SILENCE = Sound()
"""Nothing was recorded."""


@dataclass(frozen=True, slots=True)
class Record:
    """One call-log record over its whole life: one extension's view of one session.

    The last stage is the final one; its `at` is when this extension's part was over, which can be earlier
    than the end of the session. `speed` is the time factor under which the call was planned.
    """

    id: str
    session: Session
    extension_id: str
    stages: tuple[Stage, ...]
    draws: Draws
    speed: float
    sound: Sound = SILENCE
    message_id: str | None = None
    transfer_target: str | None = None
    transferee: str | None = None
    true_names: dict[str, str] = field(default_factory=dict)
    """Caller's number to the name that a later look-up fills in."""

    @property
    def started_at(self) -> datetime:
        return self.stages[0].at

    @property
    def final(self) -> Stage:
        return self.stages[-1]

    def after(self, moment: datetime, seconds: float) -> datetime:
        """Add seconds of the unscaled world to a wall-clock moment."""
        return moment + timedelta(seconds=seconds / self.speed)


@dataclass(frozen=True, slots=True)
class PartyEvent:
    """One change of one party, as the telephony session stream tells it.

    `party` is the JSON of the party; `delivered` is False for events that the platform loses.
    """

    at: datetime
    session: Session
    sequence: int
    extension_id: str | None
    party: Json
    delivered: bool = True


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """One conversation as its script tells it: sessions, events in order of time, records, recordings."""

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
