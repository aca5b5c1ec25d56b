"""Stores the links between calls and shows them on both sides, under the ledger.

`call_links` has the links that each call named, with indexes for both ends; `calls.related` and
`calls.conversation_id` are derived from them. A link to an unknown session waits there until its call is
known.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.ledger import Ledger
from app.calls.model import NO_SESSION, Call, LinkKind
from app.calls.related.links import (
    Half,
    KnownCall,
    Link,
    are_ring_out,
    conversation_of,
    halves,
    near_session_ids,
    related_of,
    side_texts,
)
from app.db.engine import upsert_into
from app.db.lists import is_one_of
from app.db.tables import call_aliases, call_links, calls
from app.ids import AccountId

MOST_CALLS = 64
"""The largest conversation that is followed: a permanent conference must not slow down all other calls."""


_MOST_AT_ONCE = 256
_MOST_NEAR = 500
"""The number of calls with a near `sessionId` that are checked for the other half of a RingOut."""


async def link_calls(
    ledger: Ledger,
    links_by_call: Mapping[str, Collection[Link]],
    at_hand: Mapping[str, Call],
    named: Mapping[str, Call],
) -> None:
    """Store the links that calls name, and update all calls whose related calls change.

    `at_hand`: every call that this transaction has loaded, by id; a second copy of
    one would overwrite it. `named`: calls by their new names, which stored links may already contain. Call it
    after a flush; it flushes its own changes.
    """
    affected = await _take(ledger, links_by_call, at_hand)
    affected |= await _take_ring_outs(ledger, at_hand)
    affected |= await _find_waiting(ledger, named)
    if not affected:
        return
    graph = _Graph(ledger.db, ledger.account_id, dict(at_hand))
    await graph.follow(affected)
    for call in graph.members.values():
        _show(ledger, call, graph)
    await ledger.flush()


async def find_unknown(
    db: AsyncConnection, account_id: AccountId, links_by_call: Mapping[str, Collection[Link]]
) -> dict[str, set[Link]]:
    """Return the links that are not stored yet, by call id."""
    if not any(links_by_call.values()):
        return {}
    query = select(call_links.c.call_id, call_links.c.other, call_links.c.kind).where(
        call_links.c.account_id == account_id, is_one_of(call_links.c.call_id, links_by_call)
    )
    stored = {(row.call_id, row.other, row.kind) for row in await db.execute(query)}
    fresh = {
        call_id: {link for link in links if (call_id, link.other, link.kind) not in stored}
        for call_id, links in links_by_call.items()
    }
    return {call_id: links for call_id, links in fresh.items() if links}


async def relink(ledger: Ledger, conversation_id: str) -> None:
    """Show anew how the calls of a conversation are related, after some of them were deleted.

    The sessions of those stay named, as sessions that are not known.
    """
    mine = (calls.c.account_id == ledger.account_id) & (calls.c.conversation_id == conversation_id)
    query = select(calls.c.call_id).where(mine).order_by(calls.c.call_id).limit(MOST_CALLS)
    left = list(await ledger.db.scalars(query))
    if not left:
        return
    graph = _Graph(ledger.db, ledger.account_id, {})
    await graph.follow(left)
    for call in graph.members.values():
        _show(ledger, call, graph)
    await ledger.flush()


async def _take(
    ledger: Ledger, links_by_call: Mapping[str, Collection[Link]], at_hand: Mapping[str, Call]
) -> set[str]:
    """Insert new links; return the ids of the calls that named them."""
    others = {
        call_id: [link for link in links if link.other not in known_of(at_hand[call_id]).names]
        for call_id, links in links_by_call.items()
        if links
    }
    fresh = await find_unknown(ledger.db, ledger.account_id, others)
    rows = [
        {
            "account_id": ledger.account_id,
            "call_id": call_id,
            "other": link.other,
            "kind": link.kind,
            "session_id": link.session_id,
        }
        for call_id, links in fresh.items()
        for link in sorted(links, key=lambda link: (link.other, link.kind, link.session_id or "~"))
    ]
    if rows:
        await ledger.db.execute(upsert_into(ledger.db, call_links).on_conflict_do_nothing(), rows)
    return set(fresh)


async def _take_ring_outs(ledger: Ledger, at_hand: Mapping[str, Call]) -> set[str]:
    """Find the other halves of RingOut calls; return the ids of the calls with new links."""
    affected: set[str] = set()
    for call in at_hand.values():
        half = half_of(call)
        near = near_session_ids(half.session_id) if half.is_ring_out else None
        if near is None or any(link["kind"] == LinkKind.RING_OUT for link in call.related):
            continue
        others = {one.call_id: one for one in await _load_between(ledger, near, at_hand)}
        pairs = [(half, half_of(other)) for other in others.values() if are_ring_out(half, half_of(other))]
        by_key = {one.telephony_session_id: one for one in (call, *others.values())}
        named: dict[str, list[Link]] = {}
        for link in halves(pairs):
            named.setdefault(by_key[link.teller].call_id, []).append(link)
        affected |= await _take(ledger, named, others | dict(at_hand))
    return affected


async def _load_between(ledger: Ledger, near: tuple[str, str], at_hand: Mapping[str, Call]) -> list[Call]:
    first, last = near
    query = select(call_aliases.c.call_id, call_aliases.c.alias).where(
        call_aliases.c.account_id == ledger.account_id, call_aliases.c.alias.between(first, last)
    )
    rows = await ledger.db.execute(query.order_by(call_aliases.c.alias).limit(_MOST_NEAR))
    ids = {row.call_id for row in rows if len(row.alias) == len(first)}
    loaded = await store.load_by_ids(ledger.db, ledger.account_id, ids - at_hand.keys())
    return [*loaded.values(), *(at_hand[call_id] for call_id in ids & at_hand.keys())]


async def _find_waiting(ledger: Ledger, named: Mapping[str, Call]) -> set[str]:
    """Return the ids of the calls whose links contain a name of these calls."""
    keys = sorted({name for call in named.values() for name in known_of(call).names})
    if not keys:
        return set()
    query = select(call_links.c.call_id).where(
        call_links.c.account_id == ledger.account_id, is_one_of(call_links.c.other, keys)
    )
    return set(await ledger.db.scalars(query.distinct()))


@dataclass(slots=True)
class _Graph:
    """The calls and links of whole conversations."""

    db: AsyncConnection
    account_id: AccountId
    at_hand: dict[str, Call]
    members: dict[str, Call] = field(default_factory=dict)
    links: set[Link] = field(default_factory=set)

    async def follow(self, call_ids: Iterable[str]) -> None:
        """Load everything that is linked with these calls, directly or through others."""
        frontier = set(call_ids)
        while frontier and len(self.members) < MOST_CALLS:
            found = await self._load(frontier)
            self.members |= found
            rows = await self._load_links(found)
            frontier = {row.call_id for row in rows} | await self._find({row.other for row in rows})
            # Bounded: a session that names thousands of others must not load them all. Sorted, so that every
            # replica takes the same ones.
            frontier = set(sorted(frontier - self.members.keys())[:_MOST_AT_ONCE])
            self.links |= await self._read(rows)

    async def _load(self, call_ids: Collection[str]) -> dict[str, Call]:
        loaded = await store.load_by_ids(self.db, self.account_id, set(call_ids) - self.at_hand.keys())
        return loaded | {one: self.at_hand[one] for one in call_ids if one in self.at_hand}

    async def _load_links(self, found: Mapping[str, Call]) -> "list[_Row]":
        names = {name for call in found.values() for name in known_of(call).names}
        query = select(
            call_links.c.call_id, call_links.c.other, call_links.c.kind, call_links.c.session_id
        ).where(
            call_links.c.account_id == self.account_id,
            or_(is_one_of(call_links.c.call_id, found), is_one_of(call_links.c.other, names)),
        )
        return [_Row(*row) for row in await self.db.execute(query)]

    async def _find(self, names: Collection[str]) -> set[str]:
        """Return the ids of the known calls of these sessions."""
        mine = select(calls.c.call_id).where(
            calls.c.account_id == self.account_id, is_one_of(calls.c.telephony_session_id, names)
        )
        found = set(await self.db.scalars(mine))
        nameless = [name.removeprefix(NO_SESSION) for name in names if name.startswith(NO_SESSION)]
        by_alias = await store.find_by_aliases(self.db, self.account_id, nameless)
        return found | {call.call_id for call in by_alias.values()}

    async def _read(self, rows: "Iterable[_Row]") -> set[Link]:
        tellers = await self._load({row.call_id for row in rows})
        return {
            Link(tellers[row.call_id].telephony_session_id, row.other, row.kind, row.session_id)
            for row in rows
        }


@dataclass(frozen=True, slots=True)
class _Row:
    call_id: str
    other: str
    kind: str
    session_id: str | None


def _show(ledger: Ledger, call: Call, graph: _Graph) -> None:
    known = [known_of(other) for other in graph.members.values() if other is not call]
    related = related_of(known_of(call), graph.links, known)
    conversation_id = conversation_of(known_of(call), graph.links, known)
    if (related, conversation_id) == (call.related, call.conversation_id):
        return
    # Calls beyond the limit of the graph may stay in the conversation that this one leaves.
    ledger.regroup(call.conversation_id)
    call.related, call.conversation_id = related, conversation_id
    ledger.change(call, "call.linked", conversationId=conversation_id, related=related)


def known_of(call: Call) -> KnownCall:
    """Return what links to this call show."""
    return KnownCall(call.call_id, call.telephony_session_id, call.session_id)


def half_of(call: Call) -> Half:
    """Return what identifies this call as half of a RingOut."""
    sides = [call.caller, call.callee]
    sides += [side for party in call.parties for side in (party, party.get("from"), party.get("to"))]
    is_ring_out = call.details.get("origin") == "RingOut" or (call.action or "").startswith("RingOut")
    return Half(
        key=call.telephony_session_id,
        session_id=call.session_id,
        is_ring_out=is_ring_out,
        sides=side_texts(*sides),
        outside=call.external_number,
        started_at=call.started_at,
    )
