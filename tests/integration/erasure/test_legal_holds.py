"""A call under legal hold stays, with all that belongs to it; the rest of its subject can go."""

from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from app.calls.lifetime import legal_holds
from app.calls.model import Call
from app.db.engine import Database
from app.db.tables import calls, deliveries, metadata, notes
from app.erasure.model import SubjectKind
from app.errors import HeldCalls
from tests.factories_calls import ACCOUNT, CUSTOMER, raw_record, seed_call, seed_note
from tests.fakes.clock import START
from tests.integration.erasure.conftest import ORDER, Office


async def hold(database: Database, call: Call) -> None:
    async with database.write() as db:
        await legal_holds.place_hold(db, call, "Case 1", ORDER.to_json(), START)


async def seed(database: Database) -> Call:
    call = await seed_call(database, records=[raw_record(f"R{id(object())}")])
    await seed_note(database, call.call_id, text=f"call {CUSTOMER}")
    async with database.write() as db:
        row = {"account_id": ACCOUNT, "received_at": START, "folded_at": START, "raw": CUSTOMER.encode()}
        session = call.telephony_session_id
        await db.execute(deliveries.insert().values(**row, uuid=session, telephony_session_id=session))
    return call


async def rows_of(database: Database, call: Call) -> dict[str, list[Any]]:
    """Return all rows of a call, by table."""
    found: dict[str, list[Any]] = {}
    async with database.read() as db:
        for table in metadata.sorted_tables:
            for column, value in (
                ("call_id", call.call_id),
                ("subject", call.call_id),
                ("telephony_session_id", call.telephony_session_id),
            ):
                if column in table.c and (column != "subject" or "parked" in table.c):
                    mine = select(table).where(table.c[column] == value)
                    found[f"{table.name}.{column}"] = [tuple(row) for row in await db.execute(mine)]
    return found


async def test_an_erasure_with_a_held_call_erases_nothing(database: Database, office: Office) -> None:
    held, free = await seed(database), await seed(database)
    await hold(database, held)
    planned = await office.plan(SubjectKind.PHONE_NUMBER, CUSTOMER)
    assert (planned.held, planned.planned["calls"]) == (1, 1)
    with pytest.raises(HeldCalls) as refused:
        await office.begin(planned)
    assert refused.value.extra == {"heldCalls": 1}
    assert (await office.carry_out(planned, turns=2)).status == "planned"
    for call in (held, free):
        assert (await rows_of(database, call))["calls.call_id"]


async def test_the_rest_can_be_erased_and_the_held_call_keeps_everything(
    database: Database, office: Office
) -> None:
    held, free = await seed(database), await seed(database)
    await hold(database, held)
    before = await rows_of(database, held)
    done = await office.erase(SubjectKind.PHONE_NUMBER, CUSTOMER, spare_held=True)
    assert (done.status, done.held, done.erased["calls"]) == ("done", 1, 1)
    assert await rows_of(database, held) == before
    async with database.read() as db:
        assert list(await db.scalars(select(calls.c.call_id))) == [held.call_id]
        assert list(await db.scalars(select(notes.c.subject))) == [held.call_id]
    assert free.call_id != held.call_id


async def test_a_hold_that_comes_while_the_erasure_runs_is_obeyed(database: Database, office: Office) -> None:
    call = await seed(database)
    planned = await office.plan(SubjectKind.PHONE_NUMBER, CUSTOMER)
    await office.begin(planned)
    await hold(database, call)
    done = await office.carry_out(planned)
    assert (done.status, done.held, done.erased.get("calls", 0)) == ("done", 1, 0)


async def test_a_released_call_can_be_erased(database: Database, office: Office) -> None:
    call = await seed(database)
    await hold(database, call)
    async with database.write() as db:
        assert await legal_holds.release_hold(db, ACCOUNT, call.call_id)
        assert not await legal_holds.release_hold(db, ACCOUNT, call.call_id)
    assert (await office.erase(SubjectKind.CALL, call.call_id)).erased["calls"] == 1


async def test_the_database_refuses_to_delete_a_held_call(database: Database) -> None:
    call = await seed(database)
    await hold(database, call)
    with pytest.raises(IntegrityError):
        async with database.write() as db:
            await db.execute(delete(calls).where(calls.c.call_id == call.call_id))


async def test_statements_can_leave_held_calls_out(database: Database) -> None:
    held, free = await seed(database), await seed(database)
    await hold(database, held)
    async with database.read() as db:
        condition = legal_holds.is_held(calls.c.account_id, calls.c.call_id)
        assert list(await db.scalars(select(calls.c.call_id).where(~condition))) == [free.call_id]
        stored = deliveries.c
        told = legal_holds.is_session_held(stored.account_id, stored.telephony_session_id)
        left = select(stored.telephony_session_id).where(~told)
        assert list(await db.scalars(left)) == [free.telephony_session_id]
