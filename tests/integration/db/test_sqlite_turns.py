"""A transaction on SQLite takes one turn of its thread for each statement, and two of its own."""

import aiosqlite
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.db.engine import Database


async def test_a_read_of_one_statement_takes_three_turns(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, turns = Database(sqlite_url), list[str]()
    take_turn = aiosqlite.Connection._execute

    async def counted(self: aiosqlite.Connection, act: object, *args: object) -> object:
        turns.append(getattr(act, "__name__", ""))
        return await take_turn(self, act, *args)  # type: ignore[no-untyped-call]

    try:
        async with database.read() as db:
            await db.execute(text("SELECT 1"))
        monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)
        async with database.read() as db:
            rows = (await db.execute(text("SELECT 1 AS one UNION ALL SELECT 2"))).all()
        assert [row.one for row in rows] == [1, 2]
        assert turns == ["_run", "_run", "commit"]
        turns.clear()
        with pytest.raises(OperationalError):
            async with database.read() as db:
                await db.execute(text("SELECT nothing"))
        assert turns == ["_run", "_run", "rollback"]
    finally:
        await database.close()


async def test_returned_rows_have_their_number(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    try:
        async with database.write() as db:
            await db.execute(text("CREATE TABLE things (one INTEGER)"))
            added = await db.execute(text("INSERT INTO things VALUES (:one)"), [{"one": 1}, {"one": 2}])
            assert added.rowcount == 2
            changed = await db.execute(text("UPDATE things SET one = one + 1 RETURNING one"))
            assert sorted(changed.scalars()) == [2, 3]
            assert (await db.execute(text("DELETE FROM things WHERE one = 2"))).rowcount == 1
    finally:
        await database.close()
