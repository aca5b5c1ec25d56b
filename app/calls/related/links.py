"""Which sessions belong together, and what each of them shows of that. Does no input or output.

A session says of others that they belong with it: its parties go there (`peerId`), its records name a
`transferTarget` or a `transferee` (guide "Telephony session notifications", RingCentral's API description).
Sometimes both sides say so, sometimes one, and in any order. So what was said is kept as a set that only
grows, and what a call shows is a function of the whole set: links count for both sides, whoever told them.

RingOut is two sessions that do not mention each other. Their `sessionId`s lie close together: RingCentral's
own widgets look up to 4000 away.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.calls.model import NO_SESSION

RING_OUT_DISTANCE = 4_000
RING_OUT_APART = timedelta(minutes=2)
"""The second telephone is dialled when the first one was picked up."""


class LinkKind(StrEnum):
    """How two sessions belong together. `LINKED`: RingCentral says that they do, but not how."""

    ATTENDED_TRANSFER = "attendedTransfer"
    CONFERENCE = "conference"
    PICKUP = "pickup"
    SUPERVISING = "supervising"
    RING_OUT = "ringOut"
    LINKED = "linked"


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """`teller` names `other` as related; both are keys of calls. `session_id`: of the other, if known."""

    teller: str
    other: str
    kind: str
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A call of ours, as links to it are shown."""

    call_id: str
    key: str
    session_id: str | None

    @property
    def names(self) -> frozenset[str]:
        """The keys under which others may speak of it."""
        return frozenset({self.key, key_of(None, self.session_id)} - {None, ""})


def key_of(telephony_session_id: str | None, session_id: str | None) -> str:
    """Return the key of a session's call; empty if neither id can name one."""
    if telephony_session_id:
        return telephony_session_id
    return f"{NO_SESSION}{session_id}" if session_id and session_id != "0" else ""


def related_of(call: KnownCall, links: Iterable[Link], known: Collection[KnownCall]) -> list[dict[str, Any]]:
    """Return what a call shows of its links, in an order that depends on nothing but the links.

    `known` has the calls of the sessions at the other ends, as far as we know them.
    """
    homes = _homes([call, *known])
    told: dict[str, set[Link]] = defaultdict(set)
    for link in links:
        teller, other = homes.get(link.teller, link.teller), homes.get(link.other, link.other)
        if teller != other and call.key in (teller, other):
            told[other if teller == call.key else teller].add(link)
    by_key = {one.key: one for one in known}
    return [
        _show(key, kind, by_key.get(key), told[key], call.key)
        for key in sorted(told)
        for kind in _kinds(told[key])
    ]


def conversation_of(call: KnownCall, links: Iterable[Link], known: Collection[KnownCall]) -> str | None:
    """Return the id of the conversation that a call is part of, None if it stands alone.

    All sessions that links join, directly or through others, have the same one. It is made of the smallest of
    their keys: no order of events changes it, but a newly found session may.
    """
    homes = _homes([call, *known])
    next_to: dict[str, set[str]] = defaultdict(set)
    for link in links:
        teller, other = homes.get(link.teller, link.teller), homes.get(link.other, link.other)
        next_to[teller].add(other)
        next_to[other].add(teller)
    reached, frontier = {call.key}, {call.key}
    while frontier:
        frontier = {key for near in frontier for key in next_to[near]} - reached
        reached |= frontier
    if len(reached) == 1:
        return None
    first = min(reached, key=lambda key: (key.startswith(NO_SESSION), key))
    return f"conv_{hashlib.sha256(first.encode()).hexdigest()[:24]}"


def _homes(known: Iterable[KnownCall]) -> dict[str, str]:
    """Map every name of a known call to its key."""
    return {name: one.key for one in known for name in one.names}


def _kinds(links: Iterable[Link]) -> list[str]:
    """Return the kinds of link between two sessions; one that is known goes before one that is not."""
    kinds = {link.kind for link in links}
    return sorted(kinds - {LinkKind.LINKED} or kinds)


def _show(key: str, kind: str, known: KnownCall | None, links: Iterable[Link], own: str) -> dict[str, Any]:
    told = sorted({link.session_id for link in links if link.session_id and link.teller == own})
    nameless = key.startswith(NO_SESSION)
    session_id = known.session_id if known and known.session_id else next(iter(told), None)
    return {
        "kind": kind,
        "telephonySessionId": None if nameless else key,
        "sessionId": session_id or (key.removeprefix(NO_SESSION) if nameless else None),
        "callId": known.call_id if known else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """One session, by what the two halves of a RingOut are recognised. `sides`: numbers and extension ids."""

    key: str
    session_id: str | None
    is_ring_out: bool
    sides: frozenset[str]
    outside: str | None
    started_at: datetime


def are_ring_out(one: Half, other: Half) -> bool:
    """Whether two sessions are the two telephones of one RingOut. The order of the two does not matter."""
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
    """Return the first and the last `sessionId` that the other half of a RingOut could have, None without
    one.

    As texts they enclose all of that length; a change of length every few centuries is not looked across.
    """
    if session_id is None or not _is_number(session_id):
        return None
    width = len(session_id)
    first, last = max(0, int(session_id) - RING_OUT_DISTANCE), int(session_id) + RING_OUT_DISTANCE
    return str(first).zfill(width), min(str(last), "9" * width, key=int)


def halves(pairs: Iterable[tuple[Half, Half]]) -> list[Link]:
    """Return the links of RingOut pairs, said by both."""
    return [
        Link(one.key, other.key, LinkKind.RING_OUT, other.session_id)
        for pair in pairs
        for one, other in (pair, pair[::-1])
    ]


def side_texts(*sides: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the numbers and extension ids of sides of a call in RingCentral's field names."""
    found = (side.get(name) for side in sides if side for name in ("phoneNumber", "extensionId"))
    return frozenset(text for text in found if isinstance(text, str) and text)


def _is_number(session_id: str | None) -> bool:
    return bool(session_id) and str(session_id).isascii() and str(session_id).isdigit() and session_id != "0"
