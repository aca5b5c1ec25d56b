"""A worker that cannot reach RingCentral, as the operator sees it. On both databases."""

from datetime import timedelta

import httpx
from structlog.testing import capture_logs

from app.db.engine import Database
from app.ops.problems.reachability import ReachWatch
from app.ringcentral.reachability import ReachMeter, Unreached
from tests.fakes.clock import FakeClock


def make_watch(database: Database, clock: FakeClock, replica: str = "one") -> tuple[ReachWatch, ReachMeter]:
    meter = ReachMeter()
    return ReachWatch(database, clock, meter, "https://platform.example.com", replica=replica), meter


async def found(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    response = (await client.get("/v1/ops/summary")).json()
    return [(one["code"], one["title"]) for one in response["problems"] if one["about"] == "reach"]


async def test_unreachable_ringcentral_is_reported_while_it_lasts_and_logged_once(
    database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    watch, meter = make_watch(database, clock)
    await watch.step()
    assert await found(client) == []
    with capture_logs() as logs:
        for _ in range(6):
            meter.failed(Unreached.NAME, "no response: the name of the server does not resolve", clock.now())
            await watch.step()
            clock.advance(50)
        assert await found(client) == [("unreachable-name", "RingCentral cannot be reached")]
        meter.answered(200, clock.now())
        await watch.step()
    assert await found(client) == []
    assert [entry["event"] for entry in logs if "reached" in entry["event"]] == [
        "RingCentral cannot be reached",
        "RingCentral can be reached again",
    ]


async def test_two_unreachable_workers_are_one_problem_until_their_reports_expire(
    database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    for replica in ("one", "two"):
        watch, meter = make_watch(database, clock, replica)
        for _ in range(3):
            meter.failed(Unreached.TIMEOUT, "no response within 10 s", clock.now())
        await watch.step()
    assert len(await found(client)) == 1
    clock.advance(timedelta(minutes=2).total_seconds())
    assert await found(client) == []
