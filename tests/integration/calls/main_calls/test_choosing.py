"""The main call of a conversation is kept right, whichever of its calls a transaction loads."""

import random
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, update

from app.calls import store
from app.calls.ledger import open_ledger
from app.calls.main_calls import members
from app.calls.model import Call, LinkKind, Outcome
from app.calls.related.links import Link
from app.calls.related.store import link_calls
from app.calls.related.upkeep import MainCallUpkeep
from app.db.engine import Database
from app.db.tables import calls, timeline
from tests.factories_calls import ACCOUNT, call_values, seed_call
from tests.fakes.clock import START, FakeClock

MINUTE = timedelta(minutes=1)


async def load(database: Database, *seeded: Call) -> list[Call]:
    async with database.read() as db:
        found = await store.load_by_ids(db, ACCOUNT, [call.call_id for call in seeded])
    return [found[call.call_id] for call in seeded]


async def mains(database: Database) -> dict[str, str | None]:
    """The stored main call of every call, by id."""
    async with database.read() as db:
        rows = await db.execute(select(calls.c.call_id, calls.c.main_call_id))
        return {row.call_id: row.main_call_id for row in rows}


async def link(
    database: Database, one: Call, other: Call, kind: LinkKind = LinkKind.ATTENDED_TRANSFER
) -> None:
    """Let one call name the other, in a transaction that has loaded only the first."""
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        found = await store.load_by_ids(db, ACCOUNT, [one.call_id])
        links = {str(one.call_id): [Link(one.telephony_session_id, other.telephony_session_id, kind)]}
        await link_calls(ledger, links, found, {})


async def change(database: Database, call: Call, **fields: Any) -> None:
    """Change one call as the service does: load it, set fields, record a change."""
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        loaded = (await store.load_by_ids(db, ACCOUNT, [call.call_id]))[call.call_id]
        for name, value in fields.items():
            setattr(loaded, name, value)
        ledger.change(loaded, "call.updated", source="test")


async def seed_customer(database: Database, **fields: Any) -> Call:
    return await seed_call(database, **fields)


async def seed_consultation(database: Database, **fields: Any) -> Call:
    asked: dict[str, Any] = {
        "started_at": START + MINUTE,
        "internal": True,
        "external_number": None,
        "direction": "Outbound",
    }
    return await seed_call(database, **(asked | fields))


async def test_a_call_without_related_calls_is_its_own_main_call(database: Database) -> None:
    for call in (await seed_customer(database), await seed_consultation(database)):
        (stored,) = await load(database, call)
        assert (stored.main_call_id, stored.version) == (None, 1)


@pytest.mark.parametrize("teller", ["customer", "consultation"])
async def test_linking_calls_makes_one_of_them_the_main_call(database: Database, teller: str) -> None:
    customer, consultation = await seed_customer(database), await seed_consultation(database)
    pair = (customer, consultation)
    await link(database, *(pair if teller == "customer" else reversed(pair)))
    one, other = await load(database, customer, consultation)
    assert (one.main_call_id, other.main_call_id) == (None, customer.call_id)
    assert one.conversation_id == other.conversation_id


async def test_the_choice_is_a_visible_change_of_the_calls_whose_value_changes(database: Database) -> None:
    customer, consultation = await seed_customer(database), await seed_consultation(database)
    await link(database, customer, consultation)
    async with database.read() as db:
        rows = (await db.execute(select(timeline).order_by(timeline.c.seq))).all()
    told = [(row.call_id, row.type) for row in rows if row.type != "call.bootstrapped"]
    assert sorted(told) == sorted(
        [
            (customer.call_id, "call.linked"),
            (consultation.call_id, "call.linked"),
            (consultation.call_id, "call.updated"),
        ]
    )
    assert rows[-1].data["mainCallId"] == customer.call_id
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    one, other = await load(database, customer, consultation)
    assert (one.version, other.version) == (2, 3)
    assert other.changed_seq == rows[-1].seq
    assert rows[-1].version == other.version


async def test_a_change_of_one_call_changes_calls_that_were_not_loaded(database: Database) -> None:
    first = await seed_consultation(database, started_at=START, internal=None)
    second = await seed_customer(database, started_at=START + MINUTE, internal=None, external_number=None)
    await link(database, first, second)
    assert await mains(database) == {first.call_id: None, second.call_id: first.call_id}

    await change(database, second, internal=False)
    assert await mains(database) == {first.call_id: second.call_id, second.call_id: None}
    (untouched,) = await load(database, first)
    assert untouched.version == 3

    await change(database, first, internal=False)
    assert await mains(database) == {first.call_id: None, second.call_id: first.call_id}


async def test_a_change_that_decides_nothing_changes_no_other_call(database: Database) -> None:
    customer, consultation = await seed_customer(database), await seed_consultation(database)
    await link(database, customer, consultation)
    before = await load(database, customer, consultation)
    await change(database, customer, queue_name="Sales")
    one, other = await load(database, customer, consultation)
    assert (one.version, other.version) == (before[0].version + 1, before[1].version)


async def test_an_outdated_copy_of_a_call_does_not_overwrite_the_choice(database: Database) -> None:
    customer, consultation = await seed_customer(database), await seed_consultation(database)
    await link(database, customer, consultation)
    (stored,) = await load(database, consultation)
    stored.main_call_id = None
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        ledger.keep(stored)
    assert (await mains(database))[consultation.call_id] == customer.call_id


LINKS = [
    ("customer", "consultation"),
    ("consultation", "customer"),
    ("consultation", "room"),
    ("monitor", "customer"),
]
KINDS = {"room": LinkKind.CONFERENCE, "monitor": LinkKind.SUPERVISING}


@pytest.mark.parametrize("seed", range(6))
async def test_the_choice_does_not_depend_on_the_order_of_arrival(database: Database, seed: int) -> None:
    values: dict[str, dict[str, Any]] = {
        "customer": {"started_at": START, "internal": False},
        "consultation": {"started_at": START + MINUTE, "internal": True, "external_number": None},
        "room": {
            "started_at": START + 2 * MINUTE,
            "internal": False,
            "external_number": None,
            "callee": {"phoneNumber": "conference"},
        },
        "monitor": {
            "started_at": START + 3 * MINUTE,
            "internal": True,
            "external_number": None,
            "callee": {"phoneNumber": "*80"},
        },
    }
    unknown = {"internal": None, "external_number": None, "callee": None, "outcome": Outcome.IN_PROGRESS}
    made = {name: Call(**call_values(**(fields | unknown))) for name, fields in values.items()}
    # A call is opened when it is first named; what is known of it, and who is related, comes in any order.
    steps: list[tuple[str, str | None]] = [*LINKS, *((name, None) for name in made)]
    random.Random(seed).shuffle(steps)
    opened: set[str] = set()
    for name, other in steps:
        call = made[name]
        if name not in opened:
            opened.add(name)
            async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
                ledger.open(call, "call.live")
                await ledger.flush()
                await link_calls(ledger, {}, {call.call_id: call}, {name: call})
        if other is None:
            await change(database, call, outcome=Outcome.ANSWERED, **values[name])
        else:
            kind = KINDS.get(other, KINDS.get(name, LinkKind.ATTENDED_TRANSFER))
            await link(database, call, made[other], kind)
    main = made["customer"].call_id
    assert await mains(database) == {
        call.call_id: None if name == "customer" else main for name, call in made.items()
    }


async def test_a_large_conversation_keeps_one_main_call(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "MOST_MEMBERS", 2)
    room = await seed_consultation(database, started_at=START, callee={"phoneNumber": "conference"})
    guests = []
    for number in range(6):
        guests.append(await seed_customer(database, started_at=START + number * MINUTE))
        await link(database, guests[-1], room, LinkKind.CONFERENCE)
    assert await mains(database) == {
        guests[0].call_id: None,
        **{call.call_id: guests[0].call_id for call in (room, *guests[1:])},
    }


async def test_many_conversations_of_one_transaction_take_few_statements(database: Database) -> None:
    pairs = [(await seed_customer(database), await seed_consultation(database)) for _ in range(25)]
    for pair in pairs:
        await link(database, *pair)
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    consultations = await load(database, *(consultation for _, consultation in pairs))
    event.listen(database.engine.sync_engine, "before_cursor_execute", count)
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        for call in consultations:
            call.internal, call.started_at = False, START - MINUTE
            ledger.change(call, "call.updated")
    event.remove(database.engine.sync_engine, "before_cursor_execute", count)
    chosen = await mains(database)
    assert {chosen[customer.call_id] for customer, _ in pairs} == {
        consultation.call_id for _, consultation in pairs
    }
    assert len([one for one in statements if "conversation_id = " in one and "UNION ALL" in one]) == 2
    assert len(statements) <= 12


async def test_upkeep_chooses_for_calls_that_were_linked_without_a_choice(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.calls.related.upkeep._BATCH", 2)
    pairs = [(await seed_customer(database), await seed_consultation(database)) for _ in range(5)]
    for pair in pairs:
        await link(database, *pair)
    chosen = await mains(database)
    async with database.write() as db:
        await db.execute(update(calls).values(main_call_id=None))
    upkeep = MainCallUpkeep(database, clock)
    steps = [await upkeep.step() for _ in range(4)]
    assert steps == [0.0, 0.0, 0.0, None]
    assert await mains(database) == chosen
