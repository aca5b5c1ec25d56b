"""A clock that is off, as the operator sees it. On both databases."""

from datetime import timedelta
from email.utils import format_datetime

import httpx
import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from app import metrics
from app.db.engine import Database
from app.db.tables import work
from app.ops.problems.clock_skew import CHECK_SECONDS, ClockWatch
from app.ringcentral.skew import SkewMeter
from tests.fakes.clock import FakeClock


class Worker:
    """A worker's watch, and the answers that it gets."""

    def __init__(self, database: Database, clock: FakeClock, replica: str = "one") -> None:
        self.clock, self.meter = clock, SkewMeter()
        self.watch = ClockWatch(database, clock, self.meter, replica=replica)

    async def hear(self, ahead: float) -> None:
        """Two answers that say how far our clock is ahead, then a look at it."""
        for _ in range(2):
            now = self.clock.now()
            date = format_datetime((now - timedelta(seconds=ahead)).replace(microsecond=0), usegmt=True)
            self.meter.observe({"date": date}, now, now)
        await self.watch.step()


@pytest.fixture
def worker(database: Database, clock: FakeClock) -> Worker:
    return Worker(database, clock)


async def found(client: httpx.AsyncClient) -> tuple[list[tuple[str, str]], float]:
    response = (await client.get("/v1/ops/summary")).json()
    problems = [(one["code"], one["detail"]) for one in response["problems"] if one["about"] == "clock"]
    return problems, response["clockSkewSeconds"]


@pytest.mark.parametrize("ahead", [0.0, 1.4, -1.4])
async def test_tolerated_clock_difference_is_no_problem(
    worker: Worker, client: httpx.AsyncClient, ahead: float
) -> None:
    await worker.watch.step()
    await worker.hear(ahead)
    assert await found(client) == ([], 0.0)


async def test_wrong_clock_is_reported_until_right_and_logged_once(
    worker: Worker, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            await worker.hear(-12.0)
            clock.advance(CHECK_SECONDS)
        ((code, detail),), seconds = await found(client)
        await worker.hear(0.0)
    assert code == "clock-skew"
    assert "at least 12 s behind RingCentral's" in detail
    assert seconds == pytest.approx(-12.0, abs=1.0)
    assert metrics.CLOCK_SKEW._value.get() == 0.0
    assert await found(client) == ([], 0.0)
    assert [entry["event"] for entry in logs if "clock" in entry["event"]] == [
        "this machine's clock is wrong",
        "this machine's clock is right again",
    ]


async def test_report_of_a_dead_worker_expires(
    worker: Worker, database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    await worker.hear(30.0)
    other = Worker(database, clock, "two")
    await other.hear(-5.0)
    problems, seconds = await found(client)
    assert (len(problems), seconds > 0) == (2, True)
    clock.advance(CHECK_SECONDS * 10 + 1)
    assert (await found(client))[0] == []
    await other.hear(-5.0)
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(work)) == 1
