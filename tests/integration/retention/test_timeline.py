"""Old changes go from the lowest number up, and a cursor that would miss some is told so."""

from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import select

from app.calls.removal import conditions
from app.db.engine import Database
from app.db.tables import accounts, calls, timeline
from tests.factories_calls import ACCOUNT, seed_call, touch
from tests.fakes.clock import START, FakeClock
from tests.integration.retention.conftest import Keeper, run

DAY = timedelta(days=1)


async def seqs(database: Database) -> list[int]:
    async with database.read() as db:
        return list(await db.scalars(select(timeline.c.seq).order_by(timeline.c.seq)))


async def seed(database: Database) -> None:
    """Nine changes, of days 0 to 8."""
    call = await seed_call(database)
    for day in range(1, 9):
        await touch(database, call, "call.updated", START + day * DAY)


async def test_old_changes_go_and_the_feed_goes_on(
    database: Database, clock: FakeClock, keeper: Keeper, client: httpx.AsyncClient
) -> None:
    await seed(database)
    all_changes = (await client.get("/v1/changes")).json()["data"]
    clock.set(START + 8 * DAY)
    await run(keeper(retention_timeline_days=3.5))
    assert await seqs(database) == [6, 7, 8, 9]
    async with database.read() as db:
        floor = select(accounts.c.timeline_floor).where(accounts.c.account_id == ACCOUNT)
        assert await db.scalar(floor) == 5
    for start in ({}, {"cursor": "0"}, {"cursor": all_changes[4]["cursor"]}):
        page = (await client.get("/v1/changes", params=start)).json()
        assert [one["seq"] for one in page["data"]] == [6, 7, 8, 9], start
    page = (await client.get("/v1/changes", params={"cursor": all_changes[6]["cursor"]})).json()
    assert [one["seq"] for one in page["data"]] == [8, 9]


async def test_a_cursor_below_the_floor_says_where_to_start_again(
    database: Database, clock: FakeClock, keeper: Keeper, client: httpx.AsyncClient
) -> None:
    await seed(database)
    old = (await client.get("/v1/changes")).json()["data"][2]["cursor"]
    clock.set(START + 8 * DAY)
    await run(keeper(retention_timeline_days=3.5))
    for path in ("/v1/changes", "/v1/changes/stream"):
        answer = await client.get(path, params={"cursor": old})
        problem = answer.json()
        assert answer.status_code == 410
        assert problem["type"] == "/problems/cursor-expired"
        assert (problem["startFrom"], problem["parameter"]) == ("5", "cursor")
        assert "/v1/calls" in problem["detail"]
    page = (await client.get("/v1/changes", params={"cursor": problem["startFrom"]})).json()
    assert [one["seq"] for one in page["data"]] == [6, 7, 8, 9]


async def test_an_account_that_has_been_quiet_keeps_its_end(
    database: Database, clock: FakeClock, keeper: Keeper, client: httpx.AsyncClient
) -> None:
    await seed(database)
    end = (await client.get("/v1/changes")).json()["nextCursor"]
    clock.set(START + 800 * DAY)
    await run(keeper())
    assert await seqs(database) == []
    page = await client.get("/v1/changes", params={"cursor": end})
    assert (page.status_code, page.json()["data"]) == (200, [])
    newest = await seed_call(database, started_at=clock.now(), now=clock.now())
    page = (await client.get("/v1/changes", params={"cursor": end})).json()
    assert [(one["seq"], one["callId"]) for one in page["data"]] == [(10, newest.call_id)]
    refused = await client.get("/v1/changes", params={"cursor": "3"})
    assert refused.json()["startFrom"] == "9"


async def test_lists_continue_whatever_was_removed(
    database: Database, clock: FakeClock, keeper: Keeper, client: httpx.AsyncClient
) -> None:
    for _ in range(3):
        await seed_call(database)
    first = (await client.get("/v1/calls", params={"limit": 2})).json()
    clock.set(START + 800 * DAY)
    await run(keeper())
    second = await client.get("/v1/calls", params={"limit": 2, "cursor": first["nextCursor"]})
    assert (second.status_code, len(second.json()["data"])) == (200, 1)


async def test_changes_of_calls_that_are_held_stay(
    database: Database, clock: FakeClock, keeper: Keeper, monkeypatch: Any
) -> None:
    held = await seed_call(database, result="held")
    await seed_call(database)
    await touch(database, held, "call.updated", START)

    def may_be_removed(of: Any = calls) -> Any:
        return of.c.result != "held"

    monkeypatch.setattr(conditions, "may_be_removed", may_be_removed)
    clock.set(START + 800 * DAY)
    await run(keeper())
    assert await seqs(database) == [1, 3]
