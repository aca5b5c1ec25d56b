"""A call as its events show it: the parties, and what follows from them.

`read_parties` is a pure function of the set of facts, so late, repeated and reordered events cannot bend
its answer. It says what is so; whether the call is over is `ending`'s question. What it derives is
provisional: the call log has the last word. Does no input or output and reads no clock.

Facts used: a party's direction is relative to the session, the caller's is Outbound in inbound calls too;
the caller's own "Answered" can mean an IVR menu, a queue or voicemail; an IVR party disconnects without a
reason in the middle of a call; `sequence` orders the events of one telephony session (published event
streams; guides "Telephony session notifications" and "Calculating call time metrics").
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from app.webhooks.folding.call_view import CallView, Moment, PartyView, RelatedSession, _Cast, _seconds, same
from app.webhooks.folding.durations import _hold, _ring_seconds, _talk, _without
from app.webhooks.folding.outcome import _outcome
from app.webhooks.payloads.facts import (
    EXTENSION_PARTY,
    Code,
    Endpoint,
    Fact,
    Peer,
    SessionFacts,
    Source,
    known_code,
)

SUCCESSION = timedelta(seconds=2)
"""How far apart a party's leaving and its successor's coming may be; 0-30 ms in published streams."""

MOST_RELATED = 50
"""Other sessions that a call is linked with; the first ones that its events name."""

_NEVER = datetime.max.replace(tzinfo=UTC)


_ORDINAL = re.compile(r"-(\d{1,6})$")

_LINKS = {
    "attendedtransfer": "attendedTransfer",
    "conference": "conference",
    "pickup": "pickup",
    "supervising": "supervising",
}


def read_parties(facts: SessionFacts) -> CallView:
    """Compute the call from its facts. An empty set gives a call that nothing is known of."""
    parties = _read_each(facts)
    cast = _cast(parties)
    told = sorted(facts, key=_by_time)
    answered = _answer(cast)
    from_, to = _sides(cast)
    return CallView(
        telephony_session_id=next((f.telephony_session_id for f in told if f.telephony_session_id), None),
        session_ids=_distinct(fact.session_id for fact in told),
        origin=next((fact.origin for fact in reversed(told) if fact.origin), None),
        direction=cast.direction,
        internal=cast.internal,
        from_=from_,
        to=to,
        external_number=_external_number(cast, from_, to),
        started_at=min((fact.started_at or fact.event_time for fact in told), default=None),
        saw_start=any(_tells_start(fact) for fact in told),
        answered_at=answered.answered_at if answered else None,
        answered_by=answered.extension_id if answered else None,
        answered_by_human=answered is not None,
        last_terminal_at=max((party.ended_at for party in parties if party.ended_at), default=None),
        heard_at=_heard_at(facts, parties),
        outcome=_outcome(cast, answered, over=not any(party.alive for party in parties)),
        outcome_if_over=_outcome(cast, answered, over=True),
        queue_name=next((fact.queue_name for fact in told if fact.queue_name), None),
        recording_ids=_distinct(recording.id for fact in told for recording in fact.recordings),
        related=_related(told),
        extension_ids=_distinct(party.extension_id for party in parties),
        ring_seconds=_ring_seconds(cast, answered),
        talk_seconds=_seconds(_without(_talk(cast, answered), _hold(cast))),
        hold_seconds=_seconds(_hold(cast)),
        parties=parties,
        caller=cast.caller,
    )


# From facts to parties


def _read_each(facts: SessionFacts) -> tuple[PartyView, ...]:
    parties = [_read_one(party_id, told) for party_id, told in _by_party(facts).items()]
    return tuple(sorted(parties, key=lambda party: (party.first_at, party.ordinal or 0, party.id)))


def _by_party(facts: SessionFacts) -> dict[str, list[Fact]]:
    """Group facts by party; an extension's fact without a party id goes to the last party it has."""
    groups: dict[str, list[Fact]] = defaultdict(list)
    nameless: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        (nameless if fact.party_id.startswith(EXTENSION_PARTY) else groups)[fact.party_id].append(fact)
    home: dict[str, str] = {}
    for party_id, told in sorted(groups.items(), key=lambda item: (min(map(_by_time, item[1])), item[0])):
        home.update({f"{EXTENSION_PARTY}{f.extension_id}": party_id for f in told if f.extension_id})
    for name, told in nameless.items():
        groups[home.get(name, name)].extend(told)
    return groups


def _read_one(party_id: str, facts: Sequence[Fact]) -> PartyView:
    telephony = _in_order([fact for fact in facts if fact.source is Source.TELEPHONY])
    presence = _in_order([fact for fact in facts if fact.source is Source.PRESENCE])
    told = [*presence, *telephony]
    ordinal = _ORDINAL.search(party_id)
    history = _history(telephony, presence)
    return PartyView(
        id=party_id,
        ordinal=int(ordinal[1]) if ordinal else None,
        account_id=_latest(fact.account_id for fact in told),
        extension_id=_latest(fact.extension_id for fact in told),
        direction=_latest(fact.direction for fact in told),
        from_=_merged(fact.from_ for fact in told),
        to=_merged(fact.to for fact in told),
        queue_call=any(fact.queue_call for fact in told),
        missed_call=_latest_flag(fact.missed_call for fact in told),
        conference_role=_latest(fact.conference_role for fact in told),
        park_id=_latest(fact.park_id for fact in told),
        peer=next((fact.peer for fact in reversed(told) if fact.peer), Peer()),
        history=history,
        first_at=min(fact.event_time for fact in told),
        last_at=max([fact.event_time for fact in telephony] or [fact.event_time for fact in presence]),
        end_reason=_end_reason(history),
    )


def _in_order(facts: list[Fact]) -> list[Fact]:
    """Sort the facts of one party and source: by sequence, then event time, then uuid.

    A fact without a sequence takes its place by time: behind the highest sequence told before it.
    """
    numbered = sorted((fact.event_time, fact.sequence) for fact in facts if fact.sequence is not None)
    times = [at for at, _ in numbered]
    highest = list(accumulate((number for _, number in numbered), max))

    def place(fact: Fact) -> tuple[int, datetime, str, int]:
        sequence = fact.sequence
        if sequence is None:
            before = bisect_right(times, fact.event_time)
            sequence = highest[before - 1] if before else -1
        return (sequence, fact.event_time, fact.uuid, fact.part)

    return sorted(facts, key=place)


def _history(telephony: Sequence[Fact], presence: Sequence[Fact]) -> tuple[Moment, ...]:
    """Return the states of one party in order; presence speaks where the session stream is silent.

    Presence may end a party whose end the session stream lost. It never brings one back to life, and never
    ends a parked one, which another may pick up.
    """
    moments = _moments(telephony)
    seen = _moments(presence)
    if not moments:
        return tuple(seen)
    if seen and seen[-1].terminal and _may_be_ended(moments[-1]):
        silent_since = max(fact.event_time for fact in telephony)
        moments.extend(seen[-1:] if seen[-1].at > silent_since else ())
    return tuple(moments)


def _may_be_ended(last: Moment) -> bool:
    return not last.terminal and last.known is not Code.PARKED


def _moments(facts: Sequence[Fact]) -> list[Moment]:
    moments: list[Moment] = []
    for fact in facts:
        if fact.code is None:
            continue
        moment = Moment(fact.code, fact.reason, fact.event_time, fact.received_at, fact.source)
        if not moments or _tells_more(moments[-1], moment):
            moments.append(moment)
        elif moment.received_at < moments[-1].received_at:
            moments[-1] = replace(moments[-1], received_at=moment.received_at)
    return moments


def _tells_more(last: Moment, moment: Moment) -> bool:
    if (last.known or last.code) != (moment.known or moment.code):
        return True
    return moment.reason is not None and moment.reason != last.reason


def _end_reason(history: Sequence[Moment]) -> str | None:
    """Return the last reason given since the party left."""
    for moment in reversed(history):
        if not moment.terminal:
            return None
        if moment.reason:
            return moment.reason
    return None


def _heard_at(facts: SessionFacts, parties: Sequence[PartyView]) -> datetime | None:
    """Return when the last news came.

    Two subscriptions deliver every event twice under different uuids, and presence repeats itself as long as
    a call is listed: such copies are no news.
    """
    news: dict[tuple[Any, ...], datetime] = {}
    for fact in facts:
        if fact.source is Source.TELEPHONY:
            copies = (fact.party_id, fact.sequence, known_code(fact.code) or fact.code, fact.reason)
            name = copies if fact.sequence is not None else fact.key
            news[name] = min(news.get(name, fact.received_at), fact.received_at)
    seen = (
        moment.received_at
        for party in parties
        for moment in party.history
        if moment.source is Source.PRESENCE
    )
    return max([*news.values(), *seen], default=None) or max((f.received_at for f in facts), default=None)


# Who is who


def _cast(parties: tuple[PartyView, ...]) -> _Cast:
    caller = _caller(parties)
    called = tuple(party for party in parties if party is not caller)
    direction = _direction(caller, called)
    return _Cast(
        parties=parties,
        caller=caller,
        called=called,
        queues=_queues(called),
        menus=_menus(called, caller),
        direction=direction,
        internal=_is_internal(caller, called),
    )


def _caller(parties: Sequence[PartyView]) -> PartyView | None:
    """Find the caller's party: number 1, or the first one if the session calls it Outbound."""
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
    """Whether only extensions take part, as far as parties were seen."""
    if caller and not called:
        return bool(caller.extension_id and caller.to.extension_id)
    from_inside = caller.extension_id if caller else called and called[0].from_.extension_id
    return bool(from_inside) and all(party.extension_id for party in called)


def _queues(called: Sequence[PartyView]) -> frozenset[str]:
    """Find the queues: the extension that was on the line when a member's telephone began to ring."""
    lines = [party for party in called if party.extension_id and not party.queue_call]
    found = {party.id for party in lines if same(party.end_reason, "AgentAnswered")}
    # Parties come in the order of their first events, so who has left before one member rang has for all later ones.
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
    """Find the IVR menus: answered, left without a reason or by the caller's key, and followed at once."""
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
    """Answers whether a party came within some time and outlived a moment, without looking at each of them.

    `_latest[n][i]` is the latest end of the 2**n parties from the i-th on; one that has not ended has no end.
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


def _answer(cast: _Cast) -> PartyView | None:
    """Return the party that answered first.

    Where no called party was ever seen, the caller's own Answered stands for it: it follows the far side's
    in outbound calls. In internal calls it comes too early and says nothing.
    """
    humans = sorted(cast.humans(), key=lambda party: (party.answered_at, party.id))
    if humans:
        return humans[0]
    alone = cast.caller and cast.direction == "Outbound" and not cast.called and not cast.internal
    return cast.caller if alone and cast.caller and cast.caller.answered_at else None


def _sides(cast: _Cast) -> tuple[Endpoint, Endpoint]:
    """Return from and to of the call: the caller's own view, its gaps filled from the first one called."""
    first = next(iter(cast.called), None)
    from_ = cast.caller.from_ if cast.caller else Endpoint()
    to = cast.caller.to if cast.caller else Endpoint()
    if cast.caller:
        from_ = from_.or_else(Endpoint(extension_id=cast.caller.extension_id))
    if first:
        from_ = from_.or_else(first.from_)
        to = to.or_else(first.to).or_else(Endpoint(extension_id=first.extension_id))
    return from_, to


def _external_number(cast: _Cast, from_: Endpoint, to: Endpoint) -> str | None:
    """Return the number of the side that is not ours; words such as `anonymous` are none."""
    if cast.internal or cast.direction is None:
        return None
    if cast.direction == "Inbound":
        number = from_.phone_number
    else:
        outside = next((party for party in cast.called if not party.extension_id), None)
        number = to.phone_number or (outside.to.phone_number if outside else None)
    return number if number and any(letter.isdigit() for letter in number) else None


# What became of it


def _related(told: Iterable[Fact]) -> tuple[RelatedSession, ...]:
    links: dict[tuple[str, str | None, str | None], RelatedSession] = {}
    for fact in told:
        if len(links) == MOST_RELATED:
            break
        peer = fact.peer
        if peer and peer.telephony_session_id != (fact.telephony_session_id or ""):
            kind = _LINKS.get((fact.reason or "").lower(), "linked")
            name = (kind, peer.telephony_session_id, peer.session_id)
            links.setdefault(
                name, RelatedSession(kind, peer.telephony_session_id, peer.session_id, peer.party_id)
            )
    return tuple(links.values())


# Times


# Small things


def _by_time(fact: Fact) -> tuple[datetime, int, str, int]:
    return (fact.event_time, -1 if fact.sequence is None else fact.sequence, fact.uuid, fact.part)


def _tells_start(fact: Fact) -> bool:
    """Whether a fact shows the beginning: the first sequence number of a session seen is 2."""
    if fact.source is Source.PRESENCE:
        return fact.started_at is not None
    return fact.sequence is not None and fact.sequence <= 2


def _latest(values: Iterable[str | None]) -> str | None:
    return next((value for value in reversed(list(values)) if value), None)


def _latest_flag(values: Iterable[bool | None]) -> bool:
    return next((value for value in reversed(list(values)) if value is not None), False)


def _merged(sides: Iterable[Endpoint]) -> Endpoint:
    merged = Endpoint()
    for side in sides:
        merged = side.or_else(merged)
    return merged


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))
