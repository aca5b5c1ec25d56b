"""Sets of rows are written as they are, on both databases; what did not change is not written."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, select, text

from app.calls.ledger import open_ledger
from app.calls.model import Call
from app.calls.store import load_call
from app.db.engine import Database
from app.db.lists import ROWS_AT_ONCE, insert_rows, update_rows
from app.db.tables import call_aliases, calls, timeline
from tests.factories_calls import ACCOUNT, ANA, CUSTOMER, call_values, seed_call
from tests.fakes.clock import START

ODD: dict[str, Any] = {
    "text": "a'b\"c\\n :rows $1 {} é\u2028😀",
    "numbers": [0, -1, 2**70, 0.1, 1e-7],
    "deep": {"": [None, True, {"x": []}]},
}


@contextmanager
def written(database: Database) -> Iterator[list[str]]:
    """Collect the statements that change something."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("INSERT", "UPDATE")):
            seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)


def odd_row(number: int) -> dict[str, Any]:
    return {
        **call_values(),
        "telephony_session_id": f"s-odd-{number}",
        "details": {**ODD, "number": number},
        "parties": [ODD],
        "caller": None,
        "queue_name": ODD["text"],
        "internal": [True, False, None][number % 3],
        "started_at": datetime(2026, 3, 10, 1, 2, 3, number, UTC),
        "read_at": None,
        "reads": number,
    }


async def load_all(database: Database) -> dict[str, Call]:
    async with database.read() as db:
        ids = list(await db.scalars(select(calls.c.call_id)))
        return {one: await load_call(db, ACCOUNT, one) for one in ids}


async def test_rows_are_inserted_and_updated_as_they_are(database: Database) -> None:
    first = await seed_call(database)
    rows = [odd_row(number) for number in range(ROWS_AT_ONCE + 3)]
    async with database.write() as db:
        columns = {name: getattr(Call(**rows[0]), name) for name in Call.__slots__}
        await insert_rows(db, calls, [columns | row for row in rows])
    stored = await load_all(database)
    assert [stored[row["call_id"]] for row in rows] == [Call(**row) for row in rows]
    changes = [
        {
            "account_id": ACCOUNT,
            "call_id": row["call_id"],
            "caller": ODD,
            "internal": None,
            "read_at": row["started_at"] + timedelta(microseconds=1),
            "reads": row["reads"] + 1,
        }
        for row in rows
    ]
    async with database.write() as db:
        await update_rows(db, calls, ("account_id", "call_id"), changes)
        await update_rows(db, calls, ("account_id", "call_id"), [])
    changed = await load_all(database)
    pairs = zip(rows, changes, strict=True)
    assert [changed[row["call_id"]] for row in rows] == [Call(**{**row, **change}) for row, change in pairs]
    assert changed[first.call_id] == first


async def test_rows_that_exist_are_left_out_where_asked(database: Database) -> None:
    call = await seed_call(database)
    row = {"account_id": ACCOUNT, "call_id": call.call_id, "alias": "name"}
    async with database.write() as db:
        await db.execute(insert(call_aliases), row)
        await insert_rows(db, call_aliases, [row, row | {"alias": "another"}], or_ignore=True)
        names = set(await db.scalars(select(call_aliases.c.alias)))
    assert {"name", "another"} <= names


async def test_rows_that_are_the_same_are_left_alone_where_asked(database: Database) -> None:
    one, two = await seed_call(database), await seed_call(database)
    keys = ("account_id", "call_id")
    rows = [
        {"account_id": ACCOUNT, "call_id": one.call_id, "result": one.result, "read_at": one.read_at},
        {"account_id": ACCOUNT, "call_id": two.call_id, "result": "Missed", "read_at": two.read_at},
    ]
    # A rewritten row has another version on PostgreSQL; on SQLite a trigger counts.
    counting = (
        "CREATE TRIGGER seen AFTER UPDATE OF result ON calls"
        " BEGIN UPDATE calls SET reads = reads + 1 WHERE call_id = old.call_id; END"
    )
    async with database.write() as db:
        version = text("reads" if database.is_sqlite else "xmin::text AS reads")
        versions = select(calls.c.call_id, version).select_from(calls)
        if database.is_sqlite:
            await db.exec_driver_sql(counting)
        before = {row.call_id: row.reads for row in await db.execute(versions)}
        await update_rows(db, calls, keys, rows, if_different=True)
        after = {row.call_id: row.reads for row in await db.execute(versions)}
    assert {call_id for call_id in after if after[call_id] != before[call_id]} == {two.call_id}
    assert (await load_all(database))[two.call_id].result == "Missed"


async def test_a_point_in_time_needs_a_time_zone(database: Database) -> None:
    call = await seed_call(database)
    naive = {"account_id": ACCOUNT, "call_id": call.call_id, "read_at": datetime(2026, 3, 10)}  # noqa: DTZ001
    with pytest.raises(Exception, match="time zone"):
        async with database.write() as db:
            await update_rows(db, calls, ("account_id", "call_id"), [naive])


async def test_a_call_that_did_not_change_is_not_written(database: Database) -> None:
    call = await seed_call(database)
    with written(database) as statements:
        async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
            again = await load_call(db, ACCOUNT, call.call_id)
            again.details = dict(again.details)
            ledger.keep(again)
    assert statements == []


async def test_wide_columns_are_written_only_when_they_changed(database: Database) -> None:
    call = await seed_call(database)
    with written(database) as statements:
        async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
            again = await load_call(db, ACCOUNT, call.call_id)
            again.end_check_at = START
            ledger.keep(again)
    (statement,) = statements
    assert "end_check_at" in statement
    assert not any(column in statement for column in ("facts", "parties", "details", "caller", "read_at"))


async def test_parties_are_written_once(database: Database) -> None:
    call = await seed_call(database)
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        ledger.involve(call, [ANA], [CUSTOMER])
    with written(database) as statements:
        async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
            ledger.involve(call, [ANA], [CUSTOMER])
    assert statements == []


async def test_a_rolled_back_change_is_written_when_it_is_made_again(database: Database) -> None:
    seeded = await seed_call(database)
    async with database.read() as db:
        call = await load_call(db, ACCOUNT, seeded.call_id)
    call.looks = 7

    async def keep(*, fails: bool) -> None:
        async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
            ledger.keep(call)
            await ledger.flush()
            if fails:
                raise RuntimeError("undo")

    with pytest.raises(RuntimeError):
        await keep(fails=True)
    await keep(fails=False)
    async with database.read() as db:
        assert (await load_call(db, ACCOUNT, call.call_id)).looks == 7
        assert len(list(await db.execute(select(timeline)))) == 1
