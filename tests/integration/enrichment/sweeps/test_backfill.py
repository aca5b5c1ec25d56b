"""Reading a range of the Call Log on demand, on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.db.engine import Database
from app.db.tables import calls, sweeps
from app.enrichment.gaps import Sweep
from app.enrichment.sweeps.backfill import Stuck, backfill
from app.errors import PermissionMissing, RateLimited, RequestRefused, RingCentralUnreachable, SettingsError
from app.ids import UNBOUND_ACCOUNT, AccountId
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import START, FakeClock
from tests.fakes.desk import PLAN, Desk
from tests.integration.enrichment.sweeps.test_sweeper import RULES, logged

BEGIN = START - timedelta(hours=12)


@pytest.fixture
def desk(database: Database, clock: FakeClock, account: AccountId, make_settings: Any) -> Desk:
    credentials = {"rc_client_id": "id", "rc_client_secret": "secret", "rc_jwt": "jwt"}
    desk = Desk(database, clock, make_settings(**credentials))
    desk.ringcentral.log = [
        logged(hour, BEGIN + timedelta(hours=hour, minutes=10)) for hour in range(11, -1, -1)
    ]
    return desk


class Interrupted(Exception):
    """Somebody pressed Ctrl-C."""


async def run(desk: Desk, *, account: str = "~", to_at: Any = START, stop_after: int | None = None) -> Sweep:
    reports: list[Sweep] = []

    def report(sweep: Sweep) -> None:
        reports.append(sweep)
        if len(reports) == stop_after:
            raise Interrupted

    return await backfill(
        desk.database, desk.clock, desk.connections, PLAN, RULES, AccountId(account), BEGIN, to_at,
        report=report,
    )  # fmt: skip


async def known(desk: Desk) -> list[str]:
    async with desk.database.read() as db:
        return list(await db.scalars(select(calls.c.source)))


async def test_all_calls_of_the_range_are_there_afterwards(desk: Desk) -> None:
    done = await run(desk)
    assert (done.found, done.done_at) == (12, desk.clock.now())
    assert await known(desk) == ["sweep"] * 12


async def test_an_interrupted_backfill_resumes_where_it_was(desk: Desk) -> None:
    with pytest.raises(Interrupted):
        await run(desk, stop_after=2)
    asked, before = len(desk.ringcentral.asked), len(await known(desk))
    assert 0 < before < 12
    done = await run(desk)
    assert done.found == 12
    async with desk.database.read() as db:
        assert len((await db.execute(select(sweeps))).all()) == 1
    assert asked + len(desk.ringcentral.asked[asked:]) <= 5, "nothing was read twice"


async def test_it_resumes_under_either_id_of_the_account_and_without_an_end(desk: Desk) -> None:
    with pytest.raises(Interrupted):
        await run(desk, stop_after=1, to_at=None)
    desk.clock.advance(60)
    done = await run(desk, account=ACCOUNT, to_at=None)
    assert (done.account_id, done.to_at) == (UNBOUND_ACCOUNT, START)


async def test_a_second_run_finds_nothing_new_and_changes_nothing(desk: Desk) -> None:
    await run(desk)
    async with desk.database.read() as db:
        before = (await db.execute(select(calls.c.call_id, calls.c.version).order_by(calls.c.call_id))).all()
    done = await run(desk)
    async with desk.database.read() as db:
        after = (await db.execute(select(calls.c.call_id, calls.c.version).order_by(calls.c.call_id))).all()
    assert done.found == 0
    assert before == after


async def test_it_waits_while_the_budget_is_used_up(desk: Desk) -> None:
    retry_at = desk.clock.now() + timedelta(seconds=3)
    desk.ringcentral.failure = RateLimited("busy", retry_at=retry_at)
    assert (await run(desk)).found == 12


async def test_the_own_extension_is_read_where_the_company_is_refused(desk: Desk) -> None:
    desk.ringcentral.failure = PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-408")
    assert (await run(desk)).found == 12


async def test_what_only_a_person_can_mend_ends_it_with_a_sentence(desk: Desk) -> None:
    class Refusing(list[str]):
        def append(self, what: str) -> None:
            super().append(what)
            raise PermissionMissing("no", permission="ReadCallLog", code="CMN-401")

    desk.ringcentral.asked = Refusing()
    with pytest.raises(Stuck):
        await run(desk)


async def test_a_permanent_refusal_is_not_retried_endlessly(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = 0

    async def refuse(*_: Any, **__: Any) -> Any:
        nonlocal refused
        refused += 1
        assert refused < 10
        raise RequestRefused("no such date", status=400, code="CMN-101")

    monkeypatch.setattr(desk.ringcentral, "fetch_call_log_window", refuse)
    with pytest.raises(Stuck, match="no such date"):
        await run(desk)


async def test_requests_become_less_frequent_during_an_outage(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, away_until, asked = desk.ringcentral.fetch_call_log_window, START + timedelta(hours=1), 0

    async def fetch_later(*span: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if desk.clock.now() < away_until:
            raise RingCentralUnreachable("no answer")
        return await fetch(*span, **options)

    monkeypatch.setattr(desk.ringcentral, "fetch_call_log_window", fetch_later)
    assert (await run(desk)).found == 12
    assert asked < 80


async def test_a_killed_backfill_resumes_when_its_lease_is_over(desk: Desk) -> None:
    """Whatever it was held up by then."""
    with pytest.raises(Interrupted):
        await run(desk, stop_after=1)
    held = {
        "lease_owner": "killed",
        "lease_until": desk.clock.now() + timedelta(seconds=15),
        "problem": {"code": "CMN-401", "detail": "no", "since": START.isoformat()},
    }
    async with desk.database.write() as db:
        await db.execute(update(sweeps).values(**held))
    assert (await run(desk)).found == 12
    assert desk.clock.now() - START < timedelta(seconds=60)


@pytest.mark.parametrize("to_at", [BEGIN, BEGIN - timedelta(hours=1)])
async def test_a_range_that_cannot_be_is_refused(desk: Desk, to_at: Any) -> None:
    with pytest.raises(SettingsError, match="range"):
        await run(desk, to_at=to_at)


async def test_an_account_without_credentials_is_refused(desk: Desk) -> None:
    with pytest.raises(SettingsError, match="no credentials"):
        await run(desk, account="908070999")
