"""Who is who among the parties of a call: caller and called, queues and menus, and who answered. Pure.

Facts used: a party's direction is relative to the session, the caller's is Outbound in inbound calls too; the
caller's own "Answered" can mean an IVR menu, a queue or voicemail; an IVR party disconnects without a reason
in the middle of a call (published event streams; guides "Telephony session notifications" and "Calculating
call time metrics").
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.calls.evidence.call_view import PartyView, same
from app.calls.evidence.facts import Endpoint

SUCCESSION = timedelta(seconds=2)
"""How far apart a party's leaving and its successor's coming may be; 0-30 ms in published streams."""

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Roles:
    """The parties by role. `called` are all but the caller; `queues` and `menus` are ids of some of them."""

    parties: tuple[PartyView, ...]
    caller: PartyView | None
    called: tuple[PartyView, ...]
    queues: frozenset[str]
    menus: frozenset[str]
    direction: str | None
    internal: bool

    def humans(self) -> Iterator[PartyView]:
        """Yield the called parties that a person answered, as far as events can tell.

        In an inbound call only an extension counts: a party without one may be an announcement.
        """
        for party in self.called:
            is_machine = party.id in self.queues or party.id in self.menus
            is_ours = party.extension_id is not None or self.direction == "Outbound"
            if party.answered_at and is_ours and not is_machine:
                yield party

    def first_answer(self) -> PartyView | None:
        """Return the party that answered first.

        If no called party was ever seen, the caller's own Answered counts: it follows the far side's in
        outbound calls. In internal calls it comes too early and means nothing.
        """
        humans = sorted(self.humans(), key=lambda party: (party.answered_at, party.id))
        if humans:
            return humans[0]
        alone = self.caller and self.direction == "Outbound" and not self.called and not self.internal
        return self.caller if alone and self.caller and self.caller.answered_at else None

    def sides(self) -> tuple[Endpoint, Endpoint]:
        """Return from and to of the call: the caller's view, its gaps filled from the first called party."""
        from_ = to = Endpoint()
        if self.caller:
            from_ = self.caller.from_.or_else(Endpoint(extension_id=self.caller.extension_id))
            to = self.caller.to
        if self.called:
            first = self.called[0]
            from_ = from_.or_else(first.from_)
            to = to.or_else(first.to).or_else(Endpoint(extension_id=first.extension_id))
        return from_, to

    def external_number(self) -> str | None:
        """Return the number of the side outside the company; words such as `anonymous` are not numbers."""
        if self.internal or self.direction is None:
            return None
        from_, to = self.sides()
        if self.direction == "Inbound":
            number = from_.phone_number
        else:
            outside = next((party for party in self.called if not party.extension_id), None)
            number = to.phone_number or (outside.to.phone_number if outside else None)
        return number if number and any(letter.isdigit() for letter in number) else None


def assign_roles(parties: tuple[PartyView, ...]) -> Roles:
    """Find out who is who. `parties` are in the order of their first events."""
    caller = _caller(parties)
    called = tuple(party for party in parties if party is not caller)
    return Roles(
        parties=parties,
        caller=caller,
        called=called,
        queues=_queues(called),
        menus=_menus(called, caller),
        direction=_direction(caller, called),
        internal=_is_internal(caller, called),
    )


def _caller(parties: Sequence[PartyView]) -> PartyView | None:
    """Return the caller: party number 1, or the first one if the session calls it Outbound."""
    for party in parties:
        if party.ordinal == 1 and not same(party.direction, "Inbound"):
            return party
    unnumbered = [party for party in parties if party.ordinal is None and party.outbound]
    first = unnumbered[:1] or [party for party in parties[:1] if party.outbound]
    return first[0] if first else None


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


def _is_internal(caller: PartyView | None, called: Sequence[PartyView]) -> bool:
    """Whether only extensions take part, as far as events show."""
    if caller and not called:
        return bool(caller.extension_id and caller.to.extension_id)
    from_inside = caller.extension_id if caller else called and called[0].from_.extension_id
    return bool(from_inside) and all(party.extension_id for party in called)


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
    """Return the IVR menus: answered, left without a reason or by the caller's key, and followed at once."""
    successors = _Successors(called)
    return frozenset(
        party.id
        for party in called
        if party.answered_at
        and not party.queue_call
        and party.ended_at
        and (same(party.end_reason, "CallerInputRedirect") or _was_followed(party, successors, caller))
    )


def _was_followed(party: PartyView, successors: "_Successors", caller: PartyView | None) -> bool:
    left_at = party.ended_at
    if left_at is None or not (party.end_reason is None or same(party.end_reason, "CallRedirected")):
        return False
    if caller and caller.ended_at and caller.ended_at <= left_at:
        return False
    return party.answered_at is not None and successors.any(
        since=max(party.answered_at, left_at - SUCCESSION), until=left_at + SUCCESSION, outlives=left_at
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
