"""Who is who among the parties of a call: caller and called, queues and menus, transfers. Pure.

Facts used: a party's direction is relative to the session, the caller's is Outbound in inbound calls too; the
caller's own "Answered" can mean an IVR menu, a queue or voicemail; an IVR party disconnects without a reason
in the middle of a call (published event streams; guides "Telephony session notifications" and "Calculating
call time metrics").
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from app.calls.evidence.facts import Endpoint
from app.calls.evidence.party_view import PartyView, same
from app.values.phone_numbers import read_phone_number

SUCCESSION = timedelta(seconds=2)
"""How far apart a party's leaving and its successor's coming may be; 0-30 ms in published streams."""

_TELLING_DIGITS = 7
"""Digits at the end of a number that two numbers of one call hardly share."""

_NEVER = datetime.max.replace(tzinfo=UTC)


_TRANSFERS = frozenset({"blindtransfer", "rcctransfer", "dtmftransfer"})
"""Reasons of a party that sent the call to another one and left."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The parties by role. `called` are all but the caller; the sets have ids of some of them.

    `queues` and `menus` are machines. `side_attempts` are phones outside the company at which a colleague was
    sought (FindMe). `handed_to` are parties to whom the call was transferred, `handed_on_by` those who did
    it. `supervisors` listen. `joined` came from another session and were called by nobody here.

    `direction` is the company's, as far as events tell.
    """

    parties: tuple[PartyView, ...]
    caller: PartyView | None
    called: tuple[PartyView, ...]
    queues: frozenset[str]
    menus: frozenset[str]
    side_attempts: frozenset[str]
    handed_to: frozenset[str]
    handed_on_by: frozenset[str]
    supervisors: frozenset[str]
    joined: frozenset[str]
    direction: str | None
    is_ring_out: bool

    def is_machine(self, party: PartyView) -> bool:
        return party.id in self.queues or party.id in self.menus

    def is_listed_internal(self) -> bool:
        """Whether only extensions take part, by the ids in the events alone."""
        called = [party for party in self.called if party.id not in self.joined]
        if self.caller and not called:
            return bool(self.caller.extension_id and self.caller.to.extension_id)
        from_inside = self.caller.extension_id if self.caller else called and called[0].from_.extension_id
        return bool(from_inside) and all(party.extension_id for party in called)

    def sides(self) -> tuple[Endpoint, Endpoint]:
        """Return from and to of the call: the caller's view, its gaps filled from the first called party."""
        from_ = to = Endpoint()
        caller = self.caller
        if caller and self.is_ring_out and not caller.outbound:
            # The platform calls the initiator first and shows them the number that they want to call.
            from_ = caller.to.or_else(Endpoint(extension_id=caller.extension_id))
        elif caller:
            from_ = caller.from_.or_else(Endpoint(extension_id=caller.extension_id))
            to = caller.to
        if self.called:
            first = self._first_called()
            # One that came later may be called by somebody else, at another number.
            if caller is None or self.has_first_called():
                from_ = from_ if self.is_ring_out else from_.or_else(first.from_)
                to = to.or_else(first.to).or_else(Endpoint(extension_id=first.extension_id))
        return from_, to

    def has_first_called(self) -> bool:
        """Whether the first called party is known: that of the lowest number, and the caller is number 1."""
        number = self._first_called().ordinal if self.called else None
        known = {party.ordinal for party in self.parties}
        return bool(self.called) and all(one in known for one in range(2, number or 0))

    def _first_called(self) -> PartyView:
        # Not by time: of the first one the first events may be missing.
        return min(self.called, key=lambda party: party.ordinal or 0)


def assign_roles(parties: tuple[PartyView, ...], origin: str | None = None) -> Roles:
    """Find out who is who. `parties` are in the order of their first events."""
    is_ring_out = same(origin, "RingOut")
    caller = _caller(parties) or (_initiator(parties) if is_ring_out else None)
    called = tuple(party for party in parties if party is not caller)
    joined = frozenset(party.id for party in called if party.outbound and not party.extension_id)
    handed_on_by, handed_to = _transfers(parties)
    queues, menus = _queues(called), _menus(called, caller)
    return Roles(
        parties=parties,
        caller=caller,
        called=called,
        queues=queues,
        menus=menus,
        side_attempts=_side_attempts(called, caller, queues | menus | handed_to | joined),
        handed_to=handed_to,
        handed_on_by=handed_on_by,
        supervisors=_supervisors(called, caller),
        joined=joined,
        direction="Outbound" if is_ring_out and caller else _direction(caller, called),
        is_ring_out=is_ring_out,
    )


def _caller(parties: Sequence[PartyView]) -> PartyView | None:
    """Return the caller: party number 1, or the first without a number that the session calls Outbound."""
    for party in parties:
        if party.ordinal == 1 and not same(party.direction, "Inbound"):
            return party
    return next((party for party in parties if party.ordinal is None and party.outbound), None)


def _initiator(parties: Sequence[PartyView]) -> PartyView | None:
    """Return who started a RingOut call: the platform calls both sides, so both parties are Inbound."""
    named = [party for party in parties if same(party.ring_out_role, "Initiator")]
    inside = [party for party in parties if party.extension_id]
    return next(iter([*named, *inside]), None)


def _direction(caller: PartyView | None, called: Sequence[PartyView]) -> str | None:
    if caller:
        return "Outbound" if caller.extension_id else "Inbound"
    if not called:
        return None
    first = called[0]
    if not first.direction and not first.extension_id:
        return None
    by_extension = first.from_.extension_id not in (None, first.extension_id)
    return "Inbound" if first.extension_id and not by_extension else "Outbound"


def _transfers(parties: Sequence[PartyView]) -> tuple[frozenset[str], frozenset[str]]:
    """Return who handed the call on to another party of this session, and to whom."""
    gave = [
        party
        for party in parties
        if party.answered_at and party.ended_at and (party.end_reason or "").lower() in _TRANSFERS
    ]
    came = [party.first_at for party in parties]  # in order
    taken: set[str] = set()
    for party in gave:
        place = bisect_left(came, (party.ended_at or _NEVER) - SUCCESSION)
        taken.update([one.id for one in parties[place : place + 2] if one is not party][:1])
    return frozenset(party.id for party in gave), frozenset(taken)


def _side_attempts(
    called: Sequence[PartyView], caller: PartyView | None, others: frozenset[str]
) -> frozenset[str]:
    """Return the outside phones at which a colleague was sought, beside the colleague's own.

    Menus and announcements show the number that was dialled, such an attempt the number that it rings.
    """
    is_to_outside = not any(party.extension_id for party in called)
    if caller is None or (caller.extension_id and is_to_outside):
        return frozenset()
    dialled = {number_key(caller.to.phone_number), number_key(caller.from_.phone_number), None}
    return frozenset(
        party.id
        for party in called
        if not party.extension_id
        and party.id not in others
        and number_key(party.to.phone_number) not in dialled
    )


def _supervisors(called: Sequence[PartyView], caller: PartyView | None) -> frozenset[str]:
    """Return who listens: a colleague that came in on their own while another one was talking."""
    inside = [party for party in called if party.extension_id and party.answered_at]
    talks = sorted((party.answered_at or _NEVER, party.ended_at or _NEVER) for party in inside)
    answers = [answered_at for answered_at, _ in talks]
    # Of those who answered earlier, the one who stays longest tells whether anybody still talks.
    stays = list(accumulate((ended_at for _, ended_at in talks), max))
    found = set()
    for party in called:
        came_alone = party.extension_id and party.from_.extension_id == party.extension_id
        is_caller = caller is not None and caller.extension_id == party.extension_id
        before = bisect_left(answers, party.first_at)
        is_talked = before > 0 and stays[before - 1] > party.first_at
        if same(party.end_reason, "Supervising") or (came_alone and not is_caller and is_talked):
            found.add(party.id)
    return frozenset(found)


def _queues(called: Sequence[PartyView]) -> frozenset[str]:
    """Return the queues: the extensions that were on the line when a member's phone began to ring."""
    lines = [party for party in called if party.extension_id and not party.queue_call]
    found = {party.id for party in lines if same(party.end_reason, "AgentAnswered")}
    # Parties are in the order of their first events: a party that left before one member rang is gone for all
    # later members too. So each party is looked at once.
    coming = deque(lines)
    waiting: list[PartyView] = []
    for member in called:
        if member.queue_call:
            while coming and coming[0].first_at <= member.first_at:
                waiting.append(coming.popleft())
            while waiting and _left_before(waiting[-1], member.first_at):
                waiting.pop()
            found.update(party.id for party in waiting[-1:])
    return frozenset(found)


def _left_before(party: PartyView, at: datetime) -> bool:
    return party.ended_at is not None and party.ended_at < at


def _menus(called: Sequence[PartyView], caller: PartyView | None) -> frozenset[str]:
    """Return the IVR menus: left without a reason or by the caller's key, and followed at once.

    In published streams a menu's party goes from Setup to Disconnected; some are Answered in between. A phone
    that rang (Proceeding) is no menu, and presence shows no menus.
    """
    successors = _Successors(called)
    return frozenset(
        party.id
        for party in called
        if not party.queue_call
        and party.ended_at
        and not party.is_presence_only
        and (party.answered_at or not party.ringing())
        and (same(party.end_reason, "CallerInputRedirect") or _was_followed(party, successors, caller))
    )


def _was_followed(party: PartyView, successors: "_Successors", caller: PartyView | None) -> bool:
    left_at = party.ended_at
    if left_at is None or not (party.end_reason is None or same(party.end_reason, "CallRedirected")):
        return False
    if caller and caller.ended_at and caller.ended_at <= left_at:
        return False
    began_at = party.answered_at or party.first_at
    return successors.any(
        since=max(began_at, left_at - SUCCESSION), until=left_at + SUCCESSION, outlives=left_at
    )


class _Successors:
    """Answers whether a party came within some time and outlived a moment, without checking each of them.

    `_latest[n][i]` is the latest end of the 2**n parties from the i-th on (a sparse table).
    """

    def __init__(self, called: Sequence[PartyView]) -> None:
        self._came = [party.first_at for party in called]  # in order
        self._latest = [[party.ended_at or _NEVER for party in called]]
        width = 1
        while 2 * width <= len(called):
            row = self._latest[-1]
            self._latest.append([max(row[at], row[at + width]) for at in range(len(row) - width)])
            width *= 2

    def any(self, *, since: datetime, until: datetime, outlives: datetime) -> bool:
        first, end = bisect_left(self._came, since), bisect_right(self._came, until)
        if first >= end:
            return False
        level = (end - first).bit_length() - 1
        row = self._latest[level]
        latest: datetime = max(row[first], row[end - 2**level])
        return latest > outlives


def number_key(raw: str | None) -> str | None:
    """Return a form in which spellings of one number are equal, whatever the region: its last digits."""
    number = read_phone_number(raw)
    if number is None:
        return None
    digits = "".join(filter(str.isdigit, number.e164 or number.raw))
    return digits[-_TELLING_DIGITS:] if len(digits) >= _TELLING_DIGITS else number.raw
