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
from app.ops.problems.clock_skew import LOOK_SECONDS, ClockWatch
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
            self.meter.hear({"date": date}, now, now)
        await self.watch.step()


@pytest.fixture
def worker(database: Database, clock: FakeClock) -> Worker:
    return Worker(database, clock)


async def told(client: httpx.AsyncClient) -> tuple[list[tuple[str, str]], float]:
    answer = (await client.get("/v1/ops/summary")).json()
    problems = [(one["code"], one["detail"]) for one in answer["problems"] if one["about"] == "clock"]
    return problems, answer["clockSkewSeconds"]


@pytest.mark.parametrize("ahead", [0.0, 1.4, -1.4])
async def test_a_difference_that_cannot_be_told_is_none(
    worker: Worker, client: httpx.AsyncClient, ahead: float
) -> None:
    await worker.watch.step()
    await worker.hear(ahead)
    assert await told(client) == ([], 0.0)


async def test_a_clock_that_is_off_is_told_until_it_is_right_and_logged_once(
    worker: Worker, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            await worker.hear(-12.0)
            clock.advance(LOOK_SECONDS)
        ((code, detail),), seconds = await told(client)
        await worker.hear(0.0)
    assert code == "clock-skew"
    assert "at least 12 s behind RingCentral's" in detail
    assert seconds == pytest.approx(-12.0, abs=1.0)
    assert metrics.CLOCK_SKEW._value.get() == 0.0
    assert await told(client) == ([], 0.0)
    assert [entry["event"] for entry in logs if "clock" in entry["event"]] == [
        "this machine's clock is off",
        "this machine's clock is right again",
    ]


async def test_a_worker_that_is_gone_says_nothing_any_more(
    worker: Worker, database: Database, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    await worker.hear(30.0)
    other = Worker(database, clock, "two")
    await other.hear(-5.0)
    problems, seconds = await told(client)
    assert (len(problems), seconds > 0) == (2, True)
    clock.advance(LOOK_SECONDS * 10 + 1)
    assert (await told(client))[0] == []
    await other.hear(-5.0)
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(work)) == 1
