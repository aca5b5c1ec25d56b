"""Loads a conversation as the API shows it, with a constant number of queries."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.conversations.summary import Part, outcome_of, talk_seconds_of
from app.calls.main_calls.members import MEMBER_COLUMNS, read_member
from app.calls.model import NO_SESSION, Stage
from app.db.lists import is_one_of
from app.db.tables import call_parties, calls, crm_links, notes
from app.ids import AccountId
from app.values.times import time_text

MOST_SHOWN = 200
"""The calls of one response."""

Json = dict[str, Any]

_COLUMNS = (
    *MEMBER_COLUMNS,
    calls.c.session_id,
    calls.c.conversation_id,
    calls.c.main_call_id,
    calls.c.changed_seq,
    calls.c.stage,
    calls.c.direction,
    calls.c.caller,
    calls.c.answered_at,
    calls.c.ended_at,
    calls.c.parties,
    calls.c.related,
)


async def load_conversation_of(
    db: AsyncConnection, account_id: AccountId, call_id: str
) -> tuple[Json, int] | None:
    """Return the conversation of a call and its last change, a number of the timeline; None if there is no
    such call. A call without related calls is a conversation of its own."""
    mine = (calls.c.account_id == account_id) & (calls.c.call_id == call_id)
    row = (await db.execute(select(*_COLUMNS).where(mine))).one_or_none()
    if row is None:
        return None
    if row.conversation_id is not None:
        return await load_conversation(db, account_id, row.conversation_id)
    return await _show(db, account_id, [row], 1)


async def load_conversation(
    db: AsyncConnection, account_id: AccountId, conversation_id: str
) -> tuple[Json, int] | None:
    """Return a conversation by its id, and its last change; None if no call is part of it."""
    mine = (calls.c.account_id == account_id) & (calls.c.conversation_id == conversation_id)
    order = (calls.c.main_call_id.is_not(None), calls.c.started_at, calls.c.call_id)
    rows = (await db.execute(select(*_COLUMNS).where(mine).order_by(*order).limit(MOST_SHOWN))).all()
    if not rows:
        return None
    number = len(rows)
    if number == MOST_SHOWN:
        number = int(await db.scalar(select(func.count()).select_from(calls).where(mine)) or 0)
    return await _show(db, account_id, rows, number)


async def _show(
    db: AsyncConnection, account_id: AccountId, rows: Sequence[Row[Any]], number: int
) -> tuple[Json, int]:
    ids = [row.call_id for row in rows]
    noted, linked = [await _count(db, account_id, table, ids) for table in (notes, crm_links)]
    took_part = await _load_parties(db, account_id, ids)
    parts = [Part(read_member(row), row.stage, row.details.get("talkSeconds"), row.related) for row in rows]
    main, main_part = rows[0], parts[0]
    ends = [row.ended_at for row in rows]
    is_over = None not in ends and not any(row.stage == Stage.LIVE for row in rows)
    shown = {
        "id": main.conversation_id,
        "mainCallId": main.call_id,
        "direction": main.direction,
        "internal": main.internal,
        "externalNumber": main.external_number,
        "outcome": outcome_of(main_part, parts),
        "startTime": time_text(min(row.started_at for row in rows)),
        "endTime": time_text(max(ends)) if is_over else None,
        "talkSeconds": talk_seconds_of(main_part, parts),
        "callCount": number,
        "calls": [_call(row, noted, linked, is_main=row is main) for row in rows],
        "related": _related(rows),
        "people": _people(rows, took_part["extension"]),
        "numbers": sorted(took_part["number"]),
        "noteCount": sum(noted.values()),
        "linkCount": sum(linked.values()),
    }
    return shown, max(row.changed_seq for row in rows)


def _call(row: Row[Any], noted: Mapping[str, int], linked: Mapping[str, int], *, is_main: bool) -> Json:
    is_nameless = row.telephony_session_id.startswith(NO_SESSION)
    return {
        "id": row.call_id,
        "isMain": is_main,
        "telephonySessionId": None if is_nameless else row.telephony_session_id,
        "sessionId": row.session_id,
        "stage": row.stage,
        "direction": row.direction,
        "internal": row.internal,
        "outcome": row.outcome,
        "from": row.caller,
        "to": row.callee,
        "externalNumber": row.external_number,
        "startTime": time_text(row.started_at),
        "answerTime": time_text(row.answered_at),
        "endTime": time_text(row.ended_at),
        "talkSeconds": row.details.get("talkSeconds"),
        "noteCount": noted.get(row.call_id, 0),
        "linkCount": linked.get(row.call_id, 0),
    }


def _related(rows: Iterable[Row[Any]]) -> list[Json]:
    """Return the links between the calls, each pair once: both calls of a link show it."""
    shown: list[Json] = []
    known: set[tuple[str, str, str]] = set()
    for row in rows:
        for link in row.related:
            other = link["callId"] or link["telephonySessionId"] or link["sessionId"] or ""
            if (other, row.call_id, link["kind"]) not in known:
                known.add((row.call_id, other, link["kind"]))
                shown.append(
                    {
                        "kind": link["kind"],
                        "callId": row.call_id,
                        "otherCallId": link["callId"],
                        "otherTelephonySessionId": link["telephonySessionId"],
                    }
                )
    return shown


def _people(rows: Iterable[Row[Any]], extension_ids: Iterable[str]) -> list[Json]:
    """Return the extensions that took part, with the first name and number that any call shows of each."""
    told: dict[str, Json] = {}
    for row in rows:
        # The agents come first: the directory knows their names.
        sides = [*(row.details.get("agents") or ()), row.caller, row.callee]
        sides += [party.get(name) for party in row.parties for name in ("from", "to")]
        for side in sides:
            if side and side.get("extensionId"):
                known = told.setdefault(str(side["extensionId"]), {})
                for name in ("extensionNumber", "name"):
                    known[name] = known.get(name) or side.get(name)
    return [
        {
            "extensionId": extension_id,
            "extensionNumber": told.get(extension_id, {}).get("extensionNumber"),
            "name": told.get(extension_id, {}).get("name"),
        }
        for extension_id in sorted({*extension_ids, *told})
    ]


async def _count(
    db: AsyncConnection, account_id: AccountId, table: Table, ids: Sequence[str]
) -> Counter[str]:
    """Return how many rows of a kind of attachment each call has."""
    mine = (table.c.account_id == account_id) & is_one_of(table.c.subject, ids)
    query = select(table.c.subject, func.count().label("number")).where(mine).group_by(table.c.subject)
    return Counter({row.subject: row.number for row in await db.execute(query)})


async def _load_parties(
    db: AsyncConnection, account_id: AccountId, ids: Sequence[str]
) -> dict[str, set[str]]:
    """Return the extensions and the numbers that took part."""
    party = call_parties.c
    query = select(party.kind, party.value).where(
        party.account_id == account_id, is_one_of(party.call_id, ids)
    )
    found: dict[str, set[str]] = {"extension": set(), "number": set()}
    for row in await db.execute(query.distinct()):
        found[row.kind].add(row.value)
    return found
