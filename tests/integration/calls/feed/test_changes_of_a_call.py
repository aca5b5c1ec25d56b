"""The changes of one call are found among those of all others by their index, in order."""

from typing import Any

from sqlalchemy import event, text

from app.calls.feed.changes import read_call_events
from app.calls.feed.positions import BEGINNING
from app.db.engine import Database
from app.db.lists import insert_rows
from app.db.tables import timeline
from app.ids import AccountId, CallId
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import START

CALLS = 500
CHANGES = 4


async def test_only_the_changes_of_the_call_are_read(database: Database) -> None:
    rows = [
        {
            "account_id": ACCOUNT,
            "seq": number,
            "call_id": f"call_{number % CALLS:04}",
            "version": 1 + number // CALLS,
            "type": "call.updated",
            "at": START,
            "data": {"stage": "live"},
            "mark": None,
        }
        for number in range(CALLS * CHANGES)
    ]
    sent: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        sent.append((statement, parameters))

    async with database.write() as db:
        await insert_rows(db, timeline, rows)
        if not database.is_sqlite:
            await db.execute(text("ANALYZE timeline"))
        event.listen(db.sync_connection, "before_cursor_execute", note)
        found = await read_call_events(db, AccountId(ACCOUNT), CallId("call_0007"), BEGINNING, 3)
        event.remove(db.sync_connection, "before_cursor_execute", note)
        ((statement, parameters),) = sent
        explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
        plan = str((await db.exec_driver_sql(explain + statement, parameters)).all())
    assert [change["version"] for change in found.events] == [1, 2, 3]
    assert found.has_more
    assert "ix_timeline_of_call" in plan
    assert "pk_timeline" not in plan
