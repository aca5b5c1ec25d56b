"""Statements: what one witness says of a call, in one form for events and for records. Pure.

A witness is the stream of session events, presence, or a record of Active Calls or the Call Log. Only
`events` and `records` read what RingCentral sent; everything else reads statements.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.calls.evidence.facts import NOBODY, Endpoint
from app.calls.evidence.party_view import Span
from app.calls.model import Outcome


class Witness(StrEnum):
    """Who makes a statement. Later ones know better, except for what only events show: exact times."""

    PRESENCE = "presence"
    SESSION_EVENTS = "session-events"
    ACTIVE_CALLS = "active-calls"
    CALL_LOG = "call-log"


class Role(StrEnum):
    """What a line is in the call."""

    CALLER = "caller"
    CALLED = "called"
    MACHINE = "machine"
    """A call queue, a menu or an announcement."""

    SIDE_ATTEMPT = "side-attempt"
    """An outside phone at which a colleague was sought: FindMe, FollowMe, SIP forwarding, hunting."""

    HANDED_TO = "handed-to"
    """Somebody to whom the call was transferred."""

    SUPERVISOR = "supervisor"
    JOINED = "joined"
    """A party of another session that was joined to this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the call and what became of it. `side` is who is on it.

    `answered`: True if somebody talked there, False if the witness says that nobody did, None if it says
    nothing. `is_own`: the line's own extension is the witness. `began_at` is the first that is known of the
    line. `rang` and `talked` are spans of time.
    """

    role: Role
    side: Endpoint
    is_own: bool = False
    answered: bool | None = None
    answered_at: datetime | None = None
    began_at: datetime | None = None
    rang: tuple[Span, ...] = ()
    talked: tuple[Span, ...] = ()
    owner: str | None = None
    """Of a side attempt: the id of the extension that was sought, if known."""

    has_rung: bool = False
    handed_on: bool = False
    """The line sent the call on to another one and left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one witness says. None and empty where it says nothing.

    `key` orders statements and names the witness: a record's id, or its kind. `told_by` is the extension that
    tells. `direction` is the company's, as the witness sees it. `unanswered` is what became of the call if
    nobody answered; NO_ANSWER stands for missed as well. `is_side_attempt`: the witness tells of an attempt
    within the call, not of the call, and so is `is_step` of a transfer, a park or a pick-up.
    `is_provisional`: it spoke before the end of the call. `is_partial`: events of which some are missing, so
    what they do not show may have happened. `saw_callee`: `callee` is the first destination, not a later one.
    """

    witness: Witness
    key: str
    told_by: str | None = None
    told_at: datetime | None = None
    is_provisional: bool = False
    is_partial: bool = False
    is_side_attempt: bool = False
    is_step: bool = False
    is_over: bool = True
    direction: str | None = None
    origin: str | None = None
    caller: Endpoint = NOBODY
    callee: Endpoint = NOBODY
    saw_callee: bool = True
    lines: tuple[Line, ...] = ()
    held: tuple[Span, ...] = ()
    unanswered: Outcome | None = None
    started_at: datetime | None = None
    saw_start: bool = False
    queue_name: str | None = None
    machine_name: str | None = None
    """The name of the queue or menu in which the caller hung up."""

    names_queue: bool = False
    """The call went to a queue, whether its name is known or not."""

    caller_name: str | None = None
    park_id: str | None = None
    transferred_to: str | None = None
    on_behalf_of: str | None = None

    @property
    def is_record(self) -> bool:
        return self.witness in (Witness.ACTIVE_CALLS, Witness.CALL_LOG)

    @property
    def is_settled(self) -> bool:
        """Whether it is a record from after the end of the call."""
        return self.is_record and not self.is_provisional
