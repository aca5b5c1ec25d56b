"""A call as its events show it: `read_parties` computes it from the set of its facts.

The result is a pure function of that set, so late, repeated and reordered events cannot change it. It says
what happened; `ending` decides whether the call is over. It is provisional: the Call Log has the last word.
Does no input or output and reads no clock.

Facts used: `sequence` orders the events of one telephony session (published event streams; guide "Telephony
session notifications").
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import accumulate
from typing import Any

from app.calls.evidence.call_view import CallView, RelatedSession
from app.calls.evidence.facts import (
    EXTENSION_PARTY,
    Announced,
    Code,
    Endpoint,
    Fact,
    Peer,
    SessionFacts,
    Stream,
    known_code,
)
from app.calls.evidence.party_view import Moment, PartyView
from app.calls.evidence.roles import assign_roles

MOST_RELATED = 50
"""Other sessions that a call is linked with: the first ones that its events name."""

_ORDINAL = re.compile(r"-(\d{1,6})$")

_FIRST = 2
"""The number of a session's first event."""

_LINKS = {
    "attendedtransfer": "attendedTransfer",
    "conference": "conference",
    "pickup": "pickup",
    "supervising": "supervising",
}


def read_parties(facts: SessionFacts) -> CallView:
    """Compute the call from its facts. An empty set gives a call about which nothing is known."""
    in_order = sorted(facts, key=_by_time)
    origin = next((fact.origin for fact in reversed(in_order) if fact.origin), None)
    roles = assign_roles(_read_each(facts), origin)
    # Presence has numbers of its own, which tell nothing of what is missing.
    numbers = {one.sequence for one in facts if one.source is Stream.TELEPHONY and one.sequence is not None}
    has_first_event = bool(numbers) and min(numbers) <= _FIRST
    return CallView(
        telephony_session_id=next((f.telephony_session_id for f in in_order if f.telephony_session_id), None),
        session_ids=_distinct(fact.session_id for fact in in_order),
        origin=origin,
        roles=roles,
        started_at=min((fact.started_at or fact.event_time for fact in in_order), default=None),
        saw_start=any(_shows_start(fact) for fact in in_order),
        has_first_event=has_first_event,
        is_whole=has_first_event and max(numbers) - min(numbers) < len(numbers),
        last_terminal_at=max((party.ended_at for party in roles.parties if party.ended_at), default=None),
        last_news_at=_last_news_at(facts, roles.parties),
        queue_name=next((fact.queue_name for fact in in_order if fact.queue_name), None),
        caller_name=next((fact.caller_name for fact in in_order if fact.caller_name), None),
        park_id=_latest(fact.park_id or fact.park_data for fact in in_order),
        on_behalf_of=_latest(fact.on_behalf_of for fact in in_order),
        recordings=_recordings(in_order),
        related=_related(in_order),
        is_presence_only=all(fact.source is Stream.PRESENCE for fact in in_order),
    )


def read_stored(facts: Sequence[Mapping[str, Any]]) -> CallView:
    """Compute the call from its stored facts, in the form of `SessionFacts.to_json`."""
    return read_parties(SessionFacts.from_json(facts))


def _read_each(facts: SessionFacts) -> tuple[PartyView, ...]:
    parties = [_read_one(party_id, of_party) for party_id, of_party in _by_party(facts).items()]
    return tuple(sorted(parties, key=lambda party: (party.first_at, party.ordinal or 0, party.id)))


def _by_party(facts: SessionFacts) -> dict[str, list[Fact]]:
    """Group facts by party; a fact of an extension without a party id goes to that extension's last party."""
    groups: dict[str, list[Fact]] = defaultdict(list)
    nameless: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        (nameless if fact.party_id.startswith(EXTENSION_PARTY) else groups)[fact.party_id].append(fact)
    home: dict[str, str] = {}
    for party_id, of_party in sorted(groups.items(), key=lambda item: (min(map(_by_time, item[1])), item[0])):
        home.update({f"{EXTENSION_PARTY}{f.extension_id}": party_id for f in of_party if f.extension_id})
    for name, of_party in nameless.items():
        groups[home.get(name, name)].extend(of_party)
    return groups


def _read_one(party_id: str, facts: Sequence[Fact]) -> PartyView:
    telephony = _in_order([fact for fact in facts if fact.source is Stream.TELEPHONY])
    presence = _in_order([fact for fact in facts if fact.source is Stream.PRESENCE])
    # The session stream comes last: it overrides presence.
    by_weight = [*presence, *telephony]
    ordinal = _ORDINAL.search(party_id)
    history = _history(telephony, presence)
    return PartyView(
        id=party_id,
        ordinal=int(ordinal[1]) if ordinal else None,
        account_id=_latest(fact.account_id for fact in by_weight),
        extension_id=_latest(fact.extension_id for fact in by_weight),
        direction=_latest(fact.direction for fact in by_weight),
        from_=_merged(fact.from_ for fact in by_weight),
        to=_merged(fact.to for fact in by_weight),
        queue_call=any(fact.queue_call for fact in by_weight),
        missed_call=_latest_flag(fact.missed_call for fact in by_weight),
        conference_role=_latest(fact.conference_role for fact in by_weight),
        ring_out_role=_latest(fact.ring_out_role for fact in by_weight),
        park_id=_latest(fact.park_id for fact in by_weight),
        peer=next((fact.peer for fact in reversed(by_weight) if fact.peer), Peer()),
        history=history,
        first_at=min(fact.event_time for fact in by_weight),
        last_at=max([fact.event_time for fact in telephony] or [fact.event_time for fact in presence]),
        end_reason=_end_reason(history),
    )


def _in_order(facts: list[Fact]) -> list[Fact]:
    """Sort the facts of one party and source by sequence, then event time, then uuid.

    A fact without a sequence is placed by time, behind the highest sequence before it.
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
    """Return the states of one party in order. Presence counts where the session stream has nothing.

    Presence may end a party whose end the session stream lost. It never revives a party, and never ends a
    parked one, which somebody else may pick up.
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
        if not moments or _is_new_state(moments[-1], moment):
            moments.append(moment)
        elif moment.received_at < moments[-1].received_at:
            moments[-1] = replace(moments[-1], received_at=moment.received_at)
    return moments


def _is_new_state(last: Moment, moment: Moment) -> bool:
    if (last.known or last.code) != (moment.known or moment.code):
        return True
    return moment.reason is not None and moment.reason != last.reason


def _end_reason(history: Sequence[Moment]) -> str | None:
    """Return the last reason that was given since the party left."""
    for moment in reversed(history):
        if not moment.terminal:
            return None
        if moment.reason:
            return moment.reason
    return None


def _last_news_at(facts: SessionFacts, parties: Sequence[PartyView]) -> datetime | None:
    """Return when the last event with news arrived.

    Two subscriptions deliver every event twice under different uuids, and presence repeats a call for as long
    as it is listed: such copies are not news.
    """
    news: dict[tuple[Any, ...], datetime] = {}
    for fact in facts:
        if fact.source is Stream.TELEPHONY:
            copies = (fact.party_id, fact.sequence, known_code(fact.code) or fact.code, fact.reason)
            name = copies if fact.sequence is not None else fact.key
            news[name] = min(news.get(name, fact.received_at), fact.received_at)
    seen = (
        moment.received_at
        for party in parties
        for moment in party.history
        if moment.source is Stream.PRESENCE
    )
    return max([*news.values(), *seen], default=None) or max((f.received_at for f in facts), default=None)


def _recordings(facts: Iterable[Fact]) -> tuple[Announced, ...]:
    """Return the announced recordings, each once, with the last state that an event gave."""
    found: dict[str, bool | None] = {}
    for fact in facts:
        for recording in fact.recordings:
            found[recording.id] = (
                recording.active if recording.active is not None else found.get(recording.id)
            )
    return tuple(Announced(recording_id, active) for recording_id, active in found.items())


def _related(facts: Iterable[Fact]) -> tuple[RelatedSession, ...]:
    links: dict[tuple[str, str | None, str | None], RelatedSession] = {}
    for fact in facts:
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


def _by_time(fact: Fact) -> tuple[datetime, int, str, int]:
    return (fact.event_time, -1 if fact.sequence is None else fact.sequence, fact.uuid, fact.part)


def _shows_start(fact: Fact) -> bool:
    """Whether a fact shows the beginning of the call."""
    if fact.source is Stream.PRESENCE:
        return fact.started_at is not None
    return fact.sequence is not None and fact.sequence <= _FIRST


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
