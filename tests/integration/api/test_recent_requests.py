"""The last requests of a key, over HTTP and in the database."""

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from app.api.middleware.request_log import RequestLog
from app.api.usage import recent
from app.api.usage.recent import RecentRequests, last_requests
from app.db.engine import Database
from app.db.tables import key_requests
from app.errors import StorageUnavailable
from tests.fakes.clock import FakeClock

REF = ("~", "key_1")


def told(number: int = 0, **fields: Any) -> dict[str, Any]:
    request = {"method": "GET", "route": "/v1/calls", "status": 200, "milliseconds": 3}
    return request | {"request_id": f"r{number}"} | fields


async def ids_of(database: Database, log: RecentRequests, ref: tuple[str, str] = REF) -> list[str]:
    async with database.read() as db:
        return [one.request_id for one in await last_requests(db, log, ref)]


async def test_requests_are_stored_together_and_shown_before(database: Database, clock: FakeClock) -> None:
    log = RecentRequests(database, clock)
    other = RecentRequests(database, clock)
    for number in range(3):
        log.add(REF, told(number))
        clock.advance(1)
    assert await ids_of(database, log) == ["r2", "r1", "r0"]
    assert await ids_of(database, other) == []
    await log.store()
    assert await ids_of(database, other) == ["r2", "r1", "r0"]
    log.add(REF, told(3))
    assert await ids_of(database, log) == ["r3", "r2", "r1", "r0"]
    assert await ids_of(database, log, ("~", "key_2")) == []


async def test_only_the_last_of_each_key_stay(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "KEPT", 3)
    log = RecentRequests(database, clock)
    for number in range(8):
        log.add(REF, told(number))
        log.add(("~", "key_2"), told(number))
        clock.advance(1)
        if number % 2:
            await log.store()
    assert await ids_of(database, log) == ["r7", "r6", "r5"]
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(key_requests)) == 6


async def test_nothing_is_lost_while_the_database_is_away(database: Database, clock: FakeClock) -> None:
    log = RecentRequests(database, clock)
    log.add(REF, told(0))
    broken, log._database = log._database, _Away()  # type: ignore[assignment]
    with pytest.raises(StorageUnavailable):
        await log.store()
    clock.advance(1)
    log.add(REF, told(1))
    log._database = broken
    await log.store()
    assert await ids_of(database, RecentRequests(database, clock)) == ["r1", "r0"]


class _Away:
    def write(self) -> Any:
        raise StorageUnavailable("away")


async def test_the_author_sees_templates_and_no_names(
    app: Any, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    services = app.state.services
    log = RequestLog(clock, "/webhooks/ringcentral", services.recent_requests)
    log.learn_routes(app.routes)

    async def logged(scope: Any, receive: Any, send: Any) -> None:
        await log.serve(app, scope, receive, send)

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(logged), base_url="http://aftercall.test", headers=client.headers
    ) as seen:
        await seen.get("/v1/calls", params={"phoneNumber": "+15550179001"}, headers={"X-Request-Id": "a"})
        clock.advance(1)
        await seen.put("/v1/calls/s-1/disposition", json={"code": "x"}, headers={"X-Request-Id": "b"})
        clock.advance(1)
        await seen.get("/v1/calls", headers={"X-Request-Id": "c", "Authorization": "Bearer ak_unknown"})
    (ref,) = services.recent_requests._waiting
    async with services.database.read() as db:
        found = await last_requests(db, services.recent_requests, ref)
    assert [(one.method, one.route, one.status, one.request_id) for one in found] == [
        ("PUT", "/v1/calls/{call}/disposition", 202, "b"),
        ("GET", "/v1/calls", 200, "a"),
    ]
