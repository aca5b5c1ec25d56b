"""How much is read for a page, in every order and with every filter that the API declares, on thirty
thousand calls.

The filters and their values are taken from the declaration: a new filter is tested as it is there, and fails
here if it reads more than a few pages' worth.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.listing.filters import CallFilters, ListQuery
from app.calls.listing.query import MOST_READ, list_calls
from app.db.engine import Database
from tests.factories_calls import ACCOUNT
from tests.list_cases import Case, all_cases, values_of
from tests.many_calls import make_calls

CALLS = 30_000
MOST_ROWS = 2 * MOST_READ
"""Rows that one step of a plan may read."""

STEPS_A_ROW = 150
"""Steps of SQLite's virtual machine that a row may cost, with all its conditions and its place in a sort."""


class Step(NamedTuple):
    """One node of a plan, and the rows that it read."""

    name: str
    rows: float


def steps_of(plan: dict[str, Any]) -> Iterator[Step]:
    """Return the nodes that read rows."""
    if "Relation Name" in plan or "Index Name" in plan:
        passed, refused = plan["Actual Rows"], plan.get("Rows Removed by Filter", 0)
        refused += plan.get("Rows Removed by Index Recheck", 0)
        place = plan.get("Index Name") or plan.get("Relation Name")
        yield Step(f"{plan['Node Type']} {place}", (passed + refused) * plan["Actual Loops"])
    for below in plan.get("Plans", ()):
        yield from steps_of(below)


async def read_steps(db: AsyncConnection, case: Case) -> list[Step]:
    """Read a page, and return the steps of its statements, run once more."""
    query = await case.query(db)
    sent: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        sent.append((statement, parameters))

    event.listen(db.sync_connection, "before_cursor_execute", note)
    try:
        await list_calls(db, ACCOUNT, query)
    finally:
        event.remove(db.sync_connection, "before_cursor_execute", note)
    steps: list[Step] = []
    for statement, parameters in sent:
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
        ((plan,),) = await db.exec_driver_sql(explain, parameters)
        steps += steps_of(plan[0]["Plan"])
    return steps


async def test_postgresql_reads_a_few_pages_at_most(postgres_database: Database) -> None:
    await make_calls(postgres_database, CALLS)
    wrong = []
    async with postgres_database.read() as db:
        for case in all_cases(CALLS):
            steps = await read_steps(db, case)
            if too_many := [step for step in steps if step.rows > MOST_ROWS]:
                wrong.append((case, too_many))
    assert not wrong


async def test_sqlite_reads_a_few_pages_at_most(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    wrong = []
    try:
        await make_calls(database, CALLS)
        async with database.read() as db:
            for case in all_cases(CALLS):
                steps = await count_steps(db, case)
                if steps > STEPS_A_ROW * MOST_ROWS:
                    wrong.append((case, steps))
    finally:
        await database.close()
    assert not wrong


async def count_steps(db: AsyncConnection, case: Case) -> int:
    """Read a page, and return the steps of SQLite's virtual machine, in hundreds."""
    query = await case.query(db)
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 100
        return 0

    driver: Any = (await db.get_raw_connection()).driver_connection
    await driver.set_progress_handler(count, 100)
    try:
        await list_calls(db, ACCOUNT, query)
    finally:
        await driver.set_progress_handler(None, 0)
    return counted


@pytest.mark.parametrize("name", sorted(CallFilters.model_fields))
def test_a_filter_is_tested_with_several_values(name: str) -> None:
    values = values_of(name, CALLS)
    assert len(values) >= 2
    for value in values:
        assert ListQuery(**{name: value})
