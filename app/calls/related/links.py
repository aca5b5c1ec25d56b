"""Decides which sessions are related, and what each call shows of that. No I/O.

A session names related sessions: its parties go there (`peerId`), or its records name a `transferTarget` or a
`transferee` (guide "Telephony session notifications", RingCentral's API description). Sometimes both sides do
so, sometimes one, and in any order. So the links are stored as a set that only grows, and what a call shows
is a function of the whole set: a link counts for both sides, whichever side named the other.

A RingOut is two sessions that do not name each other. Their `sessionId`s are close together: RingCentral's
own widgets search up to 4000 away.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.calls.model import NO_SESSION, LinkKind

RING_OUT_DISTANCE = 4_000
RING_OUT_APART = timedelta(minutes=2)
"""The second phone is dialed once the first one has been picked up."""


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """`teller` names `other` as related; both are keys of calls. `session_id`: of the other, if known."""

    teller: str
    other: str
    kind: str
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A known call, with what links to it show."""

    call_id: str
    key: str
    session_id: str | None

    @property
    def names(self) -> frozenset[str]:
        """The keys by which other sessions may name it."""
        return frozenset({self.key, key_of(None, self.session_id)} - {None, ""})


def key_of(telephony_session_id: str | None, session_id: str | None) -> str:
    """Return the key of a session's call; empty if neither id identifies one."""
    if telephony_session_id:
        return telephony_session_id
    return f"{NO_SESSION}{session_id}" if session_id and session_id != "0" else ""


def related_of(call: KnownCall, links: Iterable[Link], known: Collection[KnownCall]) -> list[dict[str, Any]]:
    """Return the related calls that a call shows, in an order that depends only on the links.

    `known`: the known calls at the other ends.
    """
    homes = _homes([call, *known])
    links_of: dict[str, set[Link]] = defaultdict(set)
    for link in links:
        teller, other = homes.get(link.teller, link.teller), homes.get(link.other, link.other)
        if teller != other and call.key in (teller, other):
            links_of[other if teller == call.key else teller].add(link)
    by_key = {one.key: one for one in known}
    return [
        _show(key, kind, by_key.get(key), links_of[key], call.key)
        for key in sorted(links_of)
        for kind in _kinds(links_of[key])
    ]


def conversation_of(call: KnownCall, links: Iterable[Link], known: Collection[KnownCall]) -> str | None:
    """Return the id of the conversation that a call is part of; None if it has no related calls.

    All sessions that are related, directly or through others, have the same id. It is derived from the
    smallest of their keys, so the order of events does not change it, but a newly found session may.
    """
    homes = _homes([call, *known])
    next_to: dict[str, set[str]] = defaultdict(set)
    for link in links:
        teller, other = homes.get(link.teller, link.teller), homes.get(link.other, link.other)
        next_to[teller].add(other)
        next_to[other].add(teller)
    # Breadth-first search over the links, which count in both directions.
    reached, frontier = {call.key}, {call.key}
    while frontier:
        frontier = {key for near in frontier for key in next_to[near]} - reached
        reached |= frontier
    if len(reached) == 1:
        return None
    # Provisional keys last: they are replaced once the telephonySessionId is known.
    first = min(reached, key=lambda key: (key.startswith(NO_SESSION), key))
    return f"conv_{hashlib.sha256(first.encode()).hexdigest()[:24]}"


def _homes(known: Iterable[KnownCall]) -> dict[str, str]:
    """Return the key of the call, by every name of each known call."""
    return {name: one.key for one in known for name in one.names}


def _kinds(links: Iterable[Link]) -> list[str]:
    """Return the kinds of link between two sessions; `LINKED` only if there is no other."""
    kinds = {link.kind for link in links}
    return sorted(kinds - {LinkKind.LINKED} or kinds)


def _show(key: str, kind: str, known: KnownCall | None, links: Iterable[Link], own: str) -> dict[str, Any]:
    session_ids = sorted({link.session_id for link in links if link.session_id and link.teller == own})
    nameless = key.startswith(NO_SESSION)
    session_id = known.session_id if known and known.session_id else next(iter(session_ids), None)
    return {
        "kind": kind,
        "telephonySessionId": None if nameless else key,
        "sessionId": session_id or (key.removeprefix(NO_SESSION) if nameless else None),
        "callId": known.call_id if known else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """One session, with what identifies the halves of a RingOut. `sides`: phone numbers and extension ids."""

    key: str
    session_id: str | None
    is_ring_out: bool
    sides: frozenset[str]
    outside: str | None
    started_at: datetime


def are_ring_out(one: Half, other: Half) -> bool:
    """Whether two sessions are the two phones of one RingOut, in either order."""
    if one.key == other.key or not (one.is_ring_out and other.is_ring_out):
        return False
    if not (_is_number(one.session_id) and _is_number(other.session_id)):
        return False
    near = abs(int(one.session_id or 0) - int(other.session_id or 0)) <= RING_OUT_DISTANCE
    same_customer = one.outside is None or other.outside is None or one.outside == other.outside
    return (
        near
        and same_customer
        and bool(one.sides & other.sides)
        and abs(one.started_at - other.started_at) <= RING_OUT_APART
    )


def near_session_ids(session_id: str | None) -> tuple[str, str] | None:
    """Return the smallest and the largest `sessionId` of the other half of a RingOut; None if it is no
    number.

    As texts, they enclose only ids of the same length, which changes once in centuries.
    """
    if session_id is None or not _is_number(session_id):
        return None
    width = len(session_id)
    first, last = max(0, int(session_id) - RING_OUT_DISTANCE), int(session_id) + RING_OUT_DISTANCE
    return str(first).zfill(width), min(str(last), "9" * width, key=int)


def halves(pairs: Iterable[tuple[Half, Half]]) -> list[Link]:
    """Return the links of RingOut pairs, in both directions."""
    return [
        Link(one.key, other.key, LinkKind.RING_OUT, other.session_id)
        for pair in pairs
        for one, other in (pair, pair[::-1])
    ]


def side_texts(*sides: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the numbers and extension ids of sides of a call, which have RingCentral's field names."""
    found = (side.get(name) for side in sides if side for name in ("phoneNumber", "extensionId"))
    return frozenset(text for text in found if isinstance(text, str) and text)


def _is_number(session_id: str | None) -> bool:
    return bool(session_id) and str(session_id).isascii() and str(session_id).isdigit() and session_id != "0"
