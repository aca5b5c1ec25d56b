"""Pages of every filter and order together have all matching calls, in order, however few calls are looked at
for one page.
"""

import random
from datetime import timedelta
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts
from app.calls.listing.axes import Axis, axis_of
from app.calls.listing.conditions import CONDITIONS, Wanted, conditions_of
from app.calls.listing.filters import CallFilters, ListQuery, Order
from app.calls.listing.numbers import find_wanted_number
from app.calls.listing.query import list_calls
from app.calls.model import Stage
from app.db.engine import Database
from app.db.tables import accounts as account_rows
from app.db.tables import call_parties, calls, crm_links, notes, sentiments, timeline
from tests.factories_calls import ACCOUNT, ANA, BEN, CUSTOMER, call_values
from tests.fakes.clock import START

CALLS = 50
HOUR = timedelta(hours=1)
NUMBERS = (CUSTOMER, "+15550177777")


async def seed(database: Database, chance: random.Random) -> None:
    """Calls of some days. Some last for a day, end before they start or changed last before they start."""
    rows: list[dict[str, Any]] = []
    parties, said, sad, linked, changes = [], [], [], [], []
    numbers = list(range(1, CALLS + 1))
    chance.shuffle(numbers)
    for number in range(CALLS):
        # A few of them start at the same moment.
        started_at = START + (number // 2) * HOUR
        lasts = chance.choice([timedelta(minutes=2)] * 6 + [5 * HOUR, 30 * HOUR, 80 * HOUR, -7 * HOUR])
        is_live = chance.random() < 0.1
        updated_at = START + numbers[number] * HOUR
        row = call_values(
            started_at=started_at,
            ended_at=None if is_live else started_at + lasts,
            updated_at=updated_at,
            direction=chance.choice(["Inbound", "Outbound"]),
            outcome=chance.choice(["answered", "missed", "voicemail"]),
            stage=Stage.LIVE if is_live else chance.choice(["final", "bootstrapped", "absent"]),
            has_recording=chance.random() < 0.3,
            internal=chance.choice([False, False, True, None]),
            agent_extension_id=chance.choice([ANA, BEN, None]),
        )
        if rows and chance.random() < 0.2:
            row |= {"conversation_id": f"conv_{number}", "main_call_id": rows[-1]["call_id"]}
        row |= {"version": 1, "changed_seq": numbers[number]}
        row |= {"parties": [], "related": [], "details": {}, "facts": []}
        rows.append(row)
        key = {"account_id": ACCOUNT, "call_id": row["call_id"]}
        changes.append(
            key | {"seq": numbers[number], "version": 1, "type": "call.updated", "at": updated_at, "data": {}}
        )
        key |= {"started_at": started_at}
        extensions = chance.sample([ANA, BEN], chance.choice([1, 2]))
        parties += [key | {"kind": "extension", "value": value} for value in extensions]
        parties.append(key | {"kind": "number", "value": chance.choice(NUMBERS)})
        mark = {"account_id": ACCOUNT, "subject": row["call_id"], "parked": False, "version": 1}
        mark |= {"created_at": started_at, "updated_at": started_at}
        note = mark | {"source": "x", "text": "t", "format": "plain"}
        said += [note | {"note_id": f"n{number}.{one}"} for one in range(chance.choice([0, 0, 1, 2]))]
        if chance.random() < 0.5:
            label = chance.choice(["negative", "positive"])
            sad.append(mark | {"source": "ai", "label": label, "scope": {}})
        if chance.random() < 0.5:
            linked.append(mark | {"crm": "hubspot", "objects": []})
    async with database.write() as db:
        await accounts.add(db, ACCOUNT, START)
        own = account_rows.c.account_id == ACCOUNT
        await db.execute(update(account_rows).where(own).values(timeline_seq=CALLS))
        for table, values in (
            (calls, rows),
            (timeline, changes),
            (call_parties, parties),
            (notes, said),
            (sentiments, sad),
            (crm_links, linked),
        ):
            await db.execute(insert(table), values)


def choose_value(name: str, chance: random.Random) -> Any:
    if name.endswith(("_after", "_before")):
        return START + chance.randrange(-10, 40) * HOUR + chance.choice([timedelta(0), timedelta(minutes=1)])
    choices: dict[str, list[Any]] = {
        "direction": ["Inbound", "Outbound"],
        "extension_id": [ANA, BEN],
        "agent": [ANA, BEN],
        "phone_number": [*NUMBERS, "+15550170000"],
        "outcome": [["missed"], ["missed", "voicemail"], ["blocked"]],
        "stage": [["final"], ["live"], ["live", "absent"]],
        "main": [True, False],
        "internal": [["true"], ["false"], ["null"], ["true", "null"], ["false", "null"]],
        "has_recording": [True, False],
        "sentiment": ["negative", "positive", "mixed"],
        "has_notes": [True, False],
        "unlinked_crm": ["hubspot", "zoho"],
    }
    return chance.choice(choices[name])


async def expected_ids(db: AsyncConnection, query: ListQuery) -> list[str]:
    """Return what a database finds that looks at all calls."""
    number = await find_wanted_number(db, ACCOUNT, query.phone_number) if query.phone_number else None
    axis = axis_of(query.order)
    found = select(calls.c.call_id).where(*conditions_of(Wanted(ACCOUNT, query, number), calls.c))
    if axis is Axis.ENDED:
        found = found.where(calls.c.ended_at.is_not(None))
    keys = [key.desc() if query.order.descends else key.asc() for key in axis.keys]
    return list(await db.scalars(found.order_by(*keys)))


async def test_pages_lose_no_call_and_repeat_none(database: Database) -> None:
    chance = random.Random(11)
    await seed(database, chance)
    names = sorted(CallFilters.model_fields)
    async with database.read() as db:
        for number in range(100):
            chosen = chance.sample(names, chance.choice([0, 1, 1, 2, 2, 3]))
            filters = {name: choose_value(name, chance) for name in chosen}
            query = ListQuery(**filters, order=chance.choice(list(Order)), limit=chance.choice([2, 7, 50]))
            most_read = chance.choice([3, 9, 30])
            found: list[str] = []
            cursor = None
            pages = 0
            while pages == 0 or cursor is not None:
                asked = query.model_copy(update={"cursor": cursor})
                page = await list_calls(db, ACCOUNT, asked, most_read)
                assert len(page.rows) <= query.limit
                found += [row.call_id for row in page.rows]
                cursor = page.next_cursor
                pages += 1
                assert pages <= 2 * CALLS
            assert found == await expected_ids(db, query), (number, query, most_read)


def test_every_filter_has_a_condition() -> None:
    assert CONDITIONS.keys() == CallFilters.model_fields.keys()


def test_every_order_has_an_axis() -> None:
    assert {axis_of(order) for order in Order} == set(Axis)
