"""Chooses the main call of a conversation: the one of its calls to write into a CRM. No I/O.

Calls that belong together are one conversation: a customer's call and the consultation before its transfer,
the two telephones of a RingOut, a call and the session of a supervisor who listens. Its main call is the
customer's.

`merit` orders calls by what is known of each alone, never by what is known of the others. So the choice does
not depend on the order of arrival, and a call that is found later changes it only by becoming the main call
itself.

Facts used: a supervisor's own session has action Monitoring or Barge In Call, its party is Gone with reason
Supervising; a call is picked up from park by dialing a star code (published event streams); a RingOut calls
the user's own telephone in a session of its own (RingCentral's widgets); a conference has a session without a
customer's number, to the word `conference`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from app.calls.model import NO_SESSION, Outcome


class Standing(IntEnum):
    """How likely the customer is in a call, best first."""

    CUSTOMER = 0
    """Somebody outside the company is in it."""

    UNKNOWN = 1
    """Nothing shows yet whether somebody outside is in it."""

    MOVED = 2
    """Somebody outside is in it, who came from another session: a conference's session, a pick-up."""

    INTERNAL = 3
    """Everybody in it belongs to the company."""

    SIDE = 4
    """A session that only serves another one: a supervisor's, a RingOut's first telephone."""


_SUPERVISION = frozenset({"monitoring", "silentmonitoring", "barge in call"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A call of a conversation, with what the choice depends on; anything may be missing.

    `key`: of the call, in `calls.telephony_session_id`. `origin` and `action` are RingCentral's words.
    `dialed` is what stands in place of the called number. `calls_extension`: whether the called side is an
    extension. `supervises`, `was_picked_up`: whether a party left it to supervise, or to be picked up, in
    another session.
    """

    call_id: str
    key: str
    started_at: datetime
    internal: bool | None = None
    external_number: str | None = None
    outcome: str = Outcome.UNKNOWN
    origin: str | None = None
    action: str | None = None
    dialed: str | None = None
    calls_extension: bool = False
    supervises: bool = False
    was_picked_up: bool = False

    @property
    def standing(self) -> Standing:
        """How likely the customer is in this call."""
        if self.is_side:
            return Standing.SIDE
        has_outsider = self.internal is False or self.external_number is not None
        if self.is_continuation:
            return Standing.MOVED if has_outsider else Standing.SIDE
        if has_outsider:
            return Standing.CUSTOMER
        return Standing.UNKNOWN if self.internal is None else Standing.INTERNAL

    @property
    def is_side(self) -> bool:
        """Whether the customer never is in this session: a supervisor's, a RingOut's first telephone."""
        action = _folded(self.action)
        # A customer's call that names a supervisor's session is still the customer's.
        if action in _SUPERVISION or (self.supervises and self.external_number is None):
            return True
        is_ring_out = _folded(self.origin) == "ringout" or action.startswith("ringout")
        return is_ring_out and self.calls_extension

    @property
    def is_continuation(self) -> bool:
        """Whether people came into this session from others: a conference, a call picked up from park."""
        dialed = _folded(self.dialed)
        words = {_folded(self.origin), dialed, _folded(self.action).removesuffix(" call")}
        return "conference" in words or "pickup" in words or dialed.startswith("*")


def main_of(members: Iterable[Member]) -> str:
    """Return the id of the main call. Raises ValueError if there are no members."""
    return min(members, key=merit).call_id


def merit(member: Member) -> tuple[Standing, bool, datetime, bool, str]:
    """Return the place of a call among those of its conversation; the smallest is the main one's.

    The customer's call is the first that people talked in: a consultation comes after it. What was picked up
    elsewhere counts as answered, though nobody answered it here. The keys of calls are unique and break
    ties; provisional ones, which have another form, come last.
    """
    is_answered = member.outcome == Outcome.ANSWERED or member.was_picked_up
    is_provisional = member.key.startswith(NO_SESSION)
    return (member.standing, not is_answered, member.started_at, is_provisional, member.key)


def _folded(word: str | None) -> str:
    """Return a word of RingCentral's for a comparison: its case differs between releases."""
    return (word or "").casefold()
