"""Polls of many accounts: planned and claimed together, and only when their time has come."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from app.accounts.access import Access
from app.accounts.credentials import CredentialKind, Secret, save
from app.calls.model import Outcome, Stage
from app.db.engine import Database
from app.db.tables import calls, poll_targets
from app.enrichment.polling import targets
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.poller import Poller
from app.enrichment.polling.targets import WaitingCalls
from app.enrichment.polling.turns import Pool, Turns
from app.ids import AccountId
from app.ringcentral.stored_tokens import StoredToken
from tests.factories_calls import seed_call
from tests.fakes.clock import START, FakeClock
from tests.fakes.context import accounts_context
from tests.fakes.desk import PLAN, VAULT
from tests.fakes.ringcentral import FakeConnections, FakeRingCentral
from tests.fakes.statements import counted

TOKEN = StoredToken(access_token="t", issued_at=START, expires_at=START + timedelta(hours=1), fingerprint="f")


def ids(count: int) -> list[AccountId]:
    return [AccountId(str(908_070_100 + number)) for number in range(count)]


class Accounts:
    """Several accounts with credentials, whose calls end when the test says, and their poller."""

    def __init__(self, database: Database, clock: FakeClock, settings: Any) -> None:
        self.database, self.clock = database, clock
        self.ringcentral = FakeRingCentral(clock)
        self.ringcentral.account_id = None  # type: ignore[assignment]
        self.connections = FakeConnections(self.ringcentral, settings, database, clock)
        self.poller = self.make_poller("one")

    def make_poller(self, replica: str) -> Poller:
        context = accounts_context(
            self.database, self.clock, self.connections, replica=replica, lease_seconds=60.0
        )
        return Poller(context, PlannerLimits(), PLAN)

    async def connect(self, account_ids: list[AccountId]) -> None:
        secret, access = Secret("app", "secret", "jwt"), Access().to_json()
        async with self.database.write() as db:
            for one in account_ids:
                await save(
                    db, VAULT, one, "user", CredentialKind.JWT, secret, TOKEN, access, self.clock.now()
                )
        self.connections.forget()

    async def end_calls(self, account_ids: list[AccountId]) -> None:
        now = self.clock.now()
        for account_id in account_ids:
            await seed_call(
                self.database,
                account_id,
                now=now,
                event="call.ended",
                stage=Stage.ENDED,
                outcome=Outcome.ANSWERED,
                started_at=now - timedelta(seconds=90),
                ended_at=now,
                end_known_at=now,
                window_closes_at=now + timedelta(seconds=120),
                read_at=now + timedelta(seconds=120),
                bootstrapped_at=None,
                bootstrapped_by=None,
                result=None,
            )

    async def step(self) -> tuple[float | None, int]:
        """Take a step; return its pause and the number of its statements."""
        with counted(self.database) as statements:
            pause = await self.poller.step()
        return pause, len(statements)

    @property
    def polls(self) -> int:
        return len(self.ringcentral.asked)


@pytest.fixture
def many(database: Database, clock: FakeClock, make_settings: Any) -> Accounts:
    return Accounts(database, clock, make_settings(rc_client_id="app", rc_client_secret="secret"))


async def test_what_is_planned_is_not_planned_again_until_its_time_has_come(many: Accounts) -> None:
    await many.connect(ids(5))
    await many.end_calls(ids(5))
    pause, planning = await many.step()
    assert pause is not None
    assert pause > 1
    woken = [await many.step() for _ in range(3)]
    assert all(again == pytest.approx(pause, abs=0.1) for again, _ in woken)
    assert {count for _, count in woken} == {1}, "a wake-up costs one statement"
    assert planning > 1
    assert many.polls == 0
    for _ in range(20):
        many.clock.advance(pause + 0.01)
        # The planner may find that it is worth to wait a little longer.
        pause = (await many.step())[0] or 0.0
        if many.polls:
            break
    assert many.polls == 5


async def test_many_accounts_are_planned_with_as_many_statements_as_a_few(many: Accounts) -> None:
    await many.connect(ids(40))
    await many.end_calls(ids(2))
    _, few = await many.step()
    await many.end_calls(ids(40)[2:])
    many.clock.advance(20)  # the connections are read again
    async with many.database.write() as db:
        await db.execute(update(calls).values(ended_at=many.clock.now(), end_known_at=many.clock.now()))
    _, all_of_them = await many.step()
    assert many.polls == 0
    assert all_of_them == few


async def test_another_call_that_ends_is_planned_for_at_once(many: Accounts) -> None:
    await many.connect(ids(2))
    await many.end_calls(ids(2))
    await many.step()
    many.clock.advance(1)
    await many.end_calls(ids(1))
    _, count = await many.step()
    assert count > 1
    _, count = await many.step()
    assert count == 1


async def test_due_accounts_are_polled_once_each_by_whichever_replica_comes_first(many: Accounts) -> None:
    account_ids = ids(6)
    await many.connect(account_ids)
    await many.end_calls(account_ids)
    many.clock.advance(12)
    other = many.make_poller("two")
    await many.poller.step()
    await other.step()
    assert many.polls == 6
    async with many.database.read() as db:
        assert set(await db.scalars(select(poll_targets.c.lease_owner))) == {None}


@pytest.mark.parametrize("taken", ["leased", "polled"])
async def test_a_target_that_another_replica_has_polled_meanwhile_is_planned_anew(
    many: Accounts, taken: str
) -> None:
    (account_id,) = ids(1)
    await many.connect([account_id])
    await many.end_calls([account_id])
    many.clock.advance(12)
    await many.poller.step()
    now = many.clock.now()
    async with many.database.read() as db:
        stored = await targets.load_all(db, [account_id])
    change: dict[str, Any] = {"last_poll_at": now + timedelta(seconds=1)}
    if taken == "leased":
        change = {"lease_owner": "two", "lease_until": now + timedelta(seconds=60)}
    async with many.database.write() as db:
        unchanged = await targets.claim_all(db, stored, "one", now, 60.0)
        assert unchanged.keys() == {account_id}
        await db.execute(update(poll_targets).values({"lease_owner": None, "lease_until": None} | change))
    async with many.database.write() as db:
        assert await targets.claim_all(db, stored, "one", now, 60.0) == {}


async def test_nothing_is_remembered_of_accounts_that_wait_no_more(many: Accounts) -> None:
    await many.connect(ids(3))
    await many.end_calls(ids(3))
    await many.step()
    async with many.database.write() as db:
        await db.execute(delete(calls))
    pause, count = await many.step()
    assert (pause, count) == (None, 1)


def test_a_plan_holds_until_what_it_was_made_of_changes(clock: FakeClock) -> None:
    turns, key = Turns(clock, PlannerLimits()), (AccountId("1"), targets.ACCOUNT)
    waiting = WaitingCalls(1, clock.now(), None, clock.now() + timedelta(seconds=120))
    known: list[Any] = []
    pool = Pool([], known, waiting)
    assert turns.remaining(key, pool) == 0.0
    turns.plan(key, pool, 5.0)
    assert turns.remaining(key, Pool([], known, waiting)) == 5.0
    assert turns.remaining(key, Pool([], [], waiting)) == 0.0, "the connections were read again"
    later = WaitingCalls(2, clock.now(), None, waiting.closes_at)
    assert turns.remaining(key, Pool([], known, later)) == 0.0, "another call has ended"
    clock.advance(5)
    assert turns.remaining(key, pool) == 0.0
    turns.plan(key, pool, None)
    assert turns.remaining(key, pool) > 100


def test_the_accounts_that_wait_longest_come_first(clock: FakeClock) -> None:
    turns, now = Turns(clock, PlannerLimits()), clock.now()
    pools = {
        (account_id, targets.ACCOUNT): Pool(
            [], [], WaitingCalls(1, now - timedelta(seconds=number), None, now + timedelta(seconds=100))
        )
        for number, account_id in enumerate(ids(5))
    }
    assert [account_id for account_id, _ in turns.due(pools, 2)] == list(reversed(ids(5)))[:2]
