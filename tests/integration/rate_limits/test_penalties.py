"""Long silences that RingCentral requests are respected, and reported with their end."""

from datetime import timedelta

import pytest

from app.api.dependencies import Services
from app.db.engine import Database
from app.errors import RateLimited
from app.ids import AccountId
from app.ops.checks.results import merge_lines
from app.ops.figures.summary import load_summary
from app.rate_limits.penalties import load_silences
from app.rate_limits.shared_buckets import SharedRates
from app.ringcentral.ports import Outcome, Priority
from app.ringcentral.protocol.errors import penalty_of
from app.ringcentral.wire import AUTH, HEAVY, LIGHT, Response
from tests.fakes.clock import FakeClock
from tests.fakes.desk import shared_rates


async def refuse(rates: SharedRates, clock: FakeClock, group: str, retry_after: str) -> None:
    slot = await rates.acquire(group, Priority.POLL, None)
    now = clock.now()
    answer = Response.of(429, {"Retry-After": retry_after}, sent_at=now)
    await rates.settle(slot, Outcome(was_sent=True, at=now, status=429, penalty=penalty_of(answer, now)))


@pytest.mark.parametrize("group", [HEAVY, LIGHT, AUTH])
async def test_a_silence_of_a_day_is_respected_and_shown(
    database: Database, clock: FakeClock, group: str
) -> None:
    rates = shared_rates(database, clock)
    await refuse(rates, clock, group, "86400")
    for _ in range(24):
        clock.advance(3600 - 10)
        with pytest.raises(RateLimited):
            await rates.acquire(group, Priority.POLL, clock.now())
        async with database.read() as db:
            ((account_id, name, problem),) = await load_silences(db, clock.now())
        assert (account_id, name, problem["code"]) == ("~", "own", "silenced")
        assert "2026-03-11 18:" in problem["detail"]
    clock.advance(3600)
    await rates.acquire(group, Priority.POLL, clock.now())
    async with database.read() as db:
        assert await load_silences(db, clock.now()) == []


@pytest.mark.parametrize("retry_after", ["1", "60", "0", "nonsense", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_a_usual_penalty_is_not_a_problem(
    database: Database, clock: FakeClock, retry_after: str
) -> None:
    await refuse(shared_rates(database, clock), clock, HEAVY, retry_after)
    async with database.read() as db:
        assert await load_silences(db, clock.now()) == []


@pytest.mark.parametrize("retry_after", ["99999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_longer_silence_is_limited_to_a_day(
    database: Database, clock: FakeClock, retry_after: str
) -> None:
    rates = shared_rates(database, clock)
    await refuse(rates, clock, HEAVY, retry_after)
    clock.advance(86_400 * 1.03)
    await rates.acquire(HEAVY, Priority.POLL, clock.now())


async def test_summary_and_check_report_a_long_silence(
    services: Services, clock: FakeClock, account: AccountId
) -> None:
    database = services.database
    await refuse(shared_rates(database, clock, holder=account), clock, HEAVY, "7200")
    async with database.read() as db:
        summary = await load_summary(db, account, services.settings, clock.now())
    (shown,) = [problem for problem in summary.problems if problem.about == "rate-limit"]
    assert (shown.code, shown.account_id) == ("silenced", account)
    (finding,) = merge_lines([], [shown])
    assert not finding.ok
    assert "2026-03-10 20:" in finding.detail
    clock.advance(timedelta(hours=3).total_seconds())
    async with database.read() as db:
        later = await load_summary(db, account, services.settings, clock.now())
    assert not [problem for problem in later.problems if problem.about == "rate-limit"]
