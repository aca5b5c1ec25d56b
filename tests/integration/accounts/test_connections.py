"""Several accounts and several users of one account, side by side: each with its own bucket, access and
problems.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.accounts.access import Access, Level
from app.accounts.connections import Connection, serving
from app.accounts.credentials import CredentialKind, CredentialRow, Secret, save
from app.accounts.overview import load_overview
from app.accounts.token_refresh import TokenRefresher
from app.calls import store
from app.calls.accounts import was_added
from app.calls.model import Call, Outcome, Stage
from app.clock import Clock
from app.db.engine import Database
from app.db.tables import credentials, rate_buckets
from app.enrichment.call_log.reader import CallLogReader
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.poller import Poller
from app.errors import AccessReason, CredentialsRefused, PermissionMissing, RingCentralUnreachable
from app.ids import AccountId, ExtensionId
from app.ringcentral.models import RecordsPage
from app.ringcentral.ports import Priority
from app.ringcentral.stored_tokens import StoredToken
from app.settings import Settings
from tests.factories_calls import ACCOUNT, raw_record, seed_call
from tests.fakes.clock import START, FakeClock
from tests.fakes.context import accounts_context
from tests.fakes.desk import PLAN, VAULT
from tests.fakes.ringcentral import FakeConnections, FakeRingCentral

OTHER = AccountId("908070002")
ANA, BEN = ExtensionId("711000101"), ExtensionId("711000102")
TOKEN = StoredToken(access_token="t", issued_at=START, expires_at=START + timedelta(hours=1), fingerprint="f")


class Slow(FakeRingCentral):
    """Responds when the test opens the door."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.door = asyncio.Event()

    async def fetch_active_calls_page(self, page: int, per_page: int, **given: Any) -> RecordsPage:
        await self.door.wait()
        return await super().fetch_active_calls_page(page, per_page, **given)

    async def fetch_call_log_by_session(self, session_id: str, **given: Any) -> RecordsPage:
        await self.door.wait()
        return await super().fetch_call_log_by_session(session_id, **given)


class Manifold(FakeConnections):
    """A RingCentral of its own behind each connection, by (holder, name)."""

    def __init__(self, settings: Settings, database: Database, clock: FakeClock) -> None:
        super().__init__(FakeRingCentral(clock), settings, database, clock)
        self.behind: dict[tuple[str, str], FakeRingCentral] = {}

    def _open(self, row: CredentialRow) -> Connection | None:
        made = super()._open(row)
        other = self.behind.get((row.account_id, row.name))
        return replace(made, client=other.client) if made and other else made


class Company:
    """The service's own account and another one, with the loops that find their records."""

    def __init__(self, database: Database, clock: FakeClock, settings: Settings) -> None:
        self.database, self.clock, self.settings = database, clock, settings
        self.connections = Manifold(settings, database, clock)
        self.poller = self.make_poller()
        self.reader = self.make_reader()

    def make_poller(self, patience_seconds: float | None = None) -> Poller:
        """Without patience every step finishes all that it began, so no test time passes meanwhile."""
        return Poller(
            accounts_context(
                self.database,
                self.clock,
                self.connections,
                replica="one",
                lease_seconds=60.0,
                patience_seconds=patience_seconds,
            ),
            PlannerLimits(),
            PLAN,
        )

    def make_reader(self, patience_seconds: float | None = None) -> CallLogReader:
        return CallLogReader(
            accounts_context(self.database, self.clock, self.connections, patience_seconds=patience_seconds),
            PLAN,
        )

    async def connect(
        self,
        account_id: AccountId,
        name: str,
        ringcentral: FakeRingCentral | None = None,
        access: Access | None = None,
    ) -> FakeRingCentral:
        """Store credentials, with this RingCentral behind them."""
        ringcentral = ringcentral or FakeRingCentral(self.clock)
        ringcentral.account_id = account_id
        self.connections.behind[account_id, name] = ringcentral
        async with self.database.write() as db:
            await save(
                db,
                VAULT,
                account_id,
                name,
                CredentialKind.JWT,
                Secret("app", "secret", "jwt"),
                TOKEN,
                (access or Access()).to_json(),
                self.clock.now(),
            )
        self.connections.forget()
        return ringcentral

    async def end_call(self, account_id: AccountId, number: int, extension: str = ANA) -> Call:
        now = self.clock.now()
        return await seed_call(
            self.database,
            account_id,
            now=now,
            event="call.ended",
            extensions=(extension,),
            telephony_session_id=f"s-{number}",
            session_id=str(1000 + number),
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

    def record(self, number: int) -> dict[str, Any]:
        return raw_record(
            f"rec-{number}",
            telephonySessionId=f"s-{number}",
            sessionId=str(1000 + number),
            startTime=(self.clock.now() - timedelta(seconds=90)).isoformat(),
        )

    async def poll_for(self, seconds: float) -> None:
        until = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < until:
            pause = await self.poller.step()
            left = (until - self.clock.now()).total_seconds()
            self.clock.advance(min(left, 1.0 if pause is None else max(0.25, min(pause, 1.0))))

    async def poll_until(self, account_id: AccountId, number: int, stage: Stage) -> None:
        """Poll until a call has reached this stage. How long that takes beside a slow account depends on the
        machine.
        """
        async with asyncio.timeout(20):
            while await self.stage_of(account_id, number) != stage:
                await self.poll_for(2)
                await asyncio.sleep(0.02)

    async def stage_of(self, account_id: AccountId, number: int) -> str:
        async with self.database.read() as db:
            call = await store.find_call(db, account_id, f"s-{number}")
        assert call is not None
        return call.stage

    async def problems(self) -> dict[tuple[str, str], list[str]]:
        """The codes of what a person has to do, by account and credentials."""
        async with self.database.read() as db:
            found = await load_overview(db, self.settings, VAULT, self.clock.now())
        return {
            (account.account_id, member.name): [problem["code"] for problem in member.problems]
            for account in found
            for member in account.members
            if member.problems
        }

    async def access_of(self, account_id: AccountId, name: str) -> Access:
        async with self.database.read() as db:
            mine = (credentials.c.account_id == account_id) & (credentials.c.name == name)
            return Access.from_json(await db.scalar(select(credentials.c.access).where(mine)))


@pytest.fixture
async def company(
    database: Database, clock: FakeClock, account: AccountId, make_settings: Any
) -> AsyncIterator[Company]:
    opened = Company(
        database, clock, make_settings(rc_client_id="id", rc_client_secret="secret", rc_jwt="jwt")
    )
    yield opened
    await opened.poller.close()
    await opened.reader.close()


def names(connections: Sequence[Connection]) -> list[tuple[str, str]]:
    return [(connection.holder, connection.name) for connection in connections]


async def test_all_connections_of_all_holders_are_listed_once(company: Company) -> None:
    await company.connect(OTHER, "ext-1")
    await company.connect(OTHER, "ext-2", access=Access(Level.EXTENSION, BEN))
    assert names(await company.connections.all()) == [(OTHER, "ext-1"), (OTHER, "ext-2"), ("~", "own")]
    assert names(await company.connections.of(ACCOUNT)) == [("~", "own")]
    assert names(await company.connections.of(OTHER)) == [(OTHER, "ext-1"), (OTHER, "ext-2")]


async def test_each_account_is_polled_with_its_own_credentials(company: Company) -> None:
    theirs = await company.connect(OTHER, "ext-1")
    ours = company.connections.behind["~", "own"] = FakeRingCentral(company.clock)
    await company.end_call(ACCOUNT, 1)
    await company.end_call(OTHER, 2)
    ours.active, theirs.active = [company.record(1)], [company.record(2)]
    await company.poll_for(15)
    assert await company.stage_of(ACCOUNT, 1) == Stage.BOOTSTRAPPED
    assert await company.stage_of(OTHER, 2) == Stage.BOOTSTRAPPED


async def test_a_hanging_account_does_not_affect_others(company: Company) -> None:
    company.poller = company.make_poller(patience_seconds=0.3)
    hanging = Slow(company.clock)
    company.connections.behind["~", "own"] = hanging
    theirs = await company.connect(OTHER, "ext-1")
    await company.end_call(ACCOUNT, 1)
    await company.end_call(OTHER, 2)
    theirs.active = [company.record(2)]
    await company.poll_until(OTHER, 2, Stage.BOOTSTRAPPED)
    assert await company.stage_of(ACCOUNT, 1) == Stage.ENDED
    hanging.active = [company.record(1)]
    hanging.door.set()
    await company.poll_until(ACCOUNT, 1, Stage.BOOTSTRAPPED)


async def test_an_account_with_a_hanging_call_log_does_not_affect_others(company: Company) -> None:
    company.reader = company.make_reader(patience_seconds=0.3)
    hanging = Slow(company.clock)
    company.connections.behind["~", "own"] = hanging
    theirs = await company.connect(OTHER, "ext-1")
    await company.end_call(ACCOUNT, 1)
    await company.end_call(OTHER, 2)
    theirs.log = [company.record(2)]
    company.clock.advance(121)
    await company.reader.step()
    async with asyncio.timeout(20):
        while await company.stage_of(OTHER, 2) == Stage.ENDED:  # noqa: ASYNC110 - it is in the database
            await asyncio.sleep(0.02)
    assert await company.stage_of(ACCOUNT, 1) == Stage.ENDED


async def test_refused_credentials_affect_only_their_account_and_are_not_retried_in_a_loop(
    company: Company,
) -> None:
    theirs = await company.connect(OTHER, "ext-1")
    ours = company.connections.behind["~", "own"] = FakeRingCentral(company.clock)
    await company.end_call(ACCOUNT, 1)
    await company.end_call(OTHER, 2)
    ours.active = [company.record(1)]
    theirs.failure = CredentialsRefused("revoked", status=400, code=AccessReason.SIGN_IN_AGAIN)
    await company.poll_for(60)
    assert await company.stage_of(ACCOUNT, 1) == Stage.BOOTSTRAPPED
    assert len(theirs.asked) == 1
    problem = (await company.access_of(OTHER, "ext-1")).problem
    assert problem is not None
    assert problem["code"] == AccessReason.SIGN_IN_AGAIN
    assert "sign in again" in problem["detail"]
    assert await company.problems() == {(OTHER, "ext-1"): [AccessReason.SIGN_IN_AGAIN]}


async def test_users_without_company_permission_read_their_own_calls_from_their_own_buckets(
    company: Company,
) -> None:
    ana = await company.connect(OTHER, "ext-ana", access=Access(Level.EXTENSION, ANA))
    ben = await company.connect(OTHER, "ext-ben", access=Access(Level.EXTENSION, BEN))
    await company.end_call(OTHER, 1, ANA)
    await company.end_call(OTHER, 2, BEN)
    ana.active, ben.active = [company.record(1)], [company.record(2)]
    await company.poll_for(15)
    assert await company.stage_of(OTHER, 1) == Stage.BOOTSTRAPPED
    assert await company.stage_of(OTHER, 2) == Stage.BOOTSTRAPPED
    assert ana.asked
    assert ben.asked
    assert all(asked.endswith(f"of {ANA}") for asked in ana.asked)
    assert all(asked.endswith(f"of {BEN}") for asked in ben.asked)


async def test_two_connections_to_one_extension_poll_it_once(company: Company) -> None:
    ways = [
        await company.connect(OTHER, name, access=Access(Level.EXTENSION, ANA)) for name in ("desk", "mobile")
    ]
    await company.end_call(OTHER, 1, ANA)
    company.clock.advance(12)
    for way in ways:
        way.active = [company.record(1)]
    await company.poller.step()
    assert [len(way.asked) for way in ways] == [1, 0]


async def test_two_users_of_one_account_have_buckets_of_their_own(company: Company) -> None:
    await company.connect(OTHER, "first")
    await company.connect(OTHER, "second")
    for connection in await company.connections.of(OTHER):
        slot = await connection.rates.acquire("heavy", Priority.POLL, None)
        assert slot is not None
    async with company.database.read() as db:
        mine = select(rate_buckets.c.bucket).where(rate_buckets.c.account_id == OTHER)
        assert sorted(await db.scalars(mine)) == ["first:heavy", "second:heavy"]


async def test_a_second_service_user_reads_the_call_log(company: Company) -> None:
    first = await company.connect(OTHER, "first")
    second = await company.connect(OTHER, "second")
    await company.end_call(OTHER, 1)
    first.active = second.log = [company.record(1)]
    await company.poll_for(15)
    company.clock.advance(120)
    await company.reader.step()
    assert {asked.split()[0] for asked in first.asked} == {"active-calls"}
    assert {asked.split()[0] for asked in second.asked} <= {"session", "window"}
    assert second.asked


async def test_when_the_company_wide_user_fails_the_others_serve_their_own_calls(company: Company) -> None:
    wide = await company.connect(OTHER, "wide")
    ana = await company.connect(OTHER, "ext-ana", access=Access(Level.EXTENSION, ANA))
    await company.end_call(OTHER, 1, ANA)
    wide.failure = CredentialsRefused("no", status=401, code="OAU-140")
    ana.active = [company.record(1)]
    await company.poll_for(20)
    assert await company.stage_of(OTHER, 1) == Stage.BOOTSTRAPPED
    assert len(wide.asked) == 1


async def test_a_missing_permission_that_calls_do_not_need_is_recorded_and_stops_no_poll(
    company: Company, clock: FakeClock
) -> None:
    await company.connect(OTHER, "ext-1")
    (connection,) = await company.connections.of(OTHER)
    refusal = PermissionMissing("no", permission="ReadCallRecording", code="CMN-401")
    await company.connections.note(connection, refusal)
    (connection,) = await company.connections.of(OTHER)
    assert serving([connection]) == [connection]
    assert not connection.access.may("ReadCallRecording", clock.now())
    assert connection.access.may("ReadCallLog", clock.now())
    assert "ReadCallRecording" in connection.access.lacks["ReadCallRecording"]["detail"]
    clock.advance(3601)
    assert connection.access.may("ReadCallRecording", clock.now())


async def test_a_continuing_problem_keeps_its_start_time(company: Company, clock: FakeClock) -> None:
    await company.connect(OTHER, "ext-1")
    refusal = PermissionMissing("no", permission="ReadCallLog", code="CMN-401")
    for _ in range(3):
        (connection,) = await company.connections.of(OTHER)
        await company.connections.note(connection, refusal)
        clock.advance(600)
    problem = (await company.access_of(OTHER, "ext-1")).problem
    assert problem is not None
    assert problem["since"] == START.isoformat()
    (connection,) = await company.connections.of(OTHER)
    await company.connections.note(connection, RingCentralUnreachable("passes"))
    assert (await company.access_of(OTHER, "ext-1")).problem is not None
    await company.connections.note(connection, None)
    assert (await company.access_of(OTHER, "ext-1")).problem is None


async def test_problems_of_connections_are_independent(company: Company, clock: FakeClock) -> None:
    for name in ("ana", "ben", "cleo"):
        await company.connect(OTHER, name)
    ana, ben, cleo = await company.connections.of(OTHER)
    await company.connections.note(ana, PermissionMissing("no", permission="ReadCallLog", code="CMN-401"))
    await company.connections.note(ana, PermissionMissing("no", permission="RingSense", code="CMN-401"))
    await company.connections.note(
        ben, CredentialsRefused("ended", status=400, code=AccessReason.SIGN_IN_AGAIN)
    )
    await company.connections.note(cleo, None)
    told = {(OTHER, "ana"): ["CMN-401", "CMN-401"], (OTHER, "ben"): [AccessReason.SIGN_IN_AGAIN]}
    assert await company.problems() == told
    ana = next(one for one in await company.connections.of(OTHER) if one.name == "ana")
    await company.connections.note(ana, None)
    assert await company.problems() == {
        (OTHER, "ana"): ["CMN-401"],
        (OTHER, "ben"): [AccessReason.SIGN_IN_AGAIN],
    }
    clock.advance(3601)
    assert await company.problems() == {(OTHER, "ben"): [AccessReason.SIGN_IN_AGAIN]}, (
        "nobody has met the other for an hour"
    )


async def test_the_services_own_user_needs_the_whole_account_unless_another_has_it(
    company: Company, clock: FakeClock
) -> None:
    (own,) = await company.connections.of(ACCOUNT)
    refusal = PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-408")
    await company.connections.note(own, refusal)
    assert await company.problems() == {(ACCOUNT, "own"): ["CMN-408"]}
    clock.advance(7200)
    assert await company.problems() == {(ACCOUNT, "own"): ["CMN-408"]}, "it still sees its own calls alone"
    await company.connect(ACCOUNT, "wide")
    assert await company.problems() == {}
    (own,) = [one for one in await company.connections.all() if one.name == "own"]
    assert own.is_company_wide, "it is tried again"
    await company.connections.note(own, None)
    assert (await company.access_of(AccountId("~"), "own")).lacks == {}


async def test_a_user_added_for_one_extension_has_no_problem(company: Company) -> None:
    await company.connect(OTHER, "ext-ana")
    (connection,) = await company.connections.of(OTHER)
    refusal = PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-408")
    await company.connections.note(connection, refusal)
    assert (await company.access_of(OTHER, "ext-ana")).level is Level.EXTENSION
    assert await company.problems() == {}


async def test_credentials_of_another_account_are_reported_and_stop_nothing(company: Company) -> None:
    ours = company.connections.behind["~", "own"] = FakeRingCentral(company.clock)
    await company.connect(ACCOUNT, "second")
    ours.account_id = AccountId("1")
    await company.end_call(ACCOUNT, 1)
    for _ in range(3):
        await company.poll_for(7)
    assert len(ours.asked) == 1, "a budget of somebody else is not spent on it"
    company.clock.advance(60)
    await company.poll_for(7)
    assert len(ours.asked) == 2, "it goes on"
    company.clock.advance(121)
    await company.reader.step()
    assert await company.problems() == {(ACCOUNT, "own"): [AccessReason.WRONG_ACCOUNT]}
    since = (await company.access_of(AccountId("~"), "own")).lacks[AccessReason.WRONG_ACCOUNT]["since"]
    assert since < company.clock.now().isoformat()


async def test_credentials_that_only_read_the_call_log_say_so_when_they_work_again(company: Company) -> None:
    await company.connect(OTHER, "first")
    second = await company.connect(OTHER, "second")
    await company.end_call(OTHER, 1)
    second.failure = PermissionMissing("no", permission="ReadCallLog", code="CMN-401")
    company.clock.advance(121)
    await company.reader.step()
    assert await company.problems() == {(OTHER, "second"): ["CMN-401"]}
    second.log = [company.record(1)]
    await company.end_call(OTHER, 2)
    company.clock.advance(400)
    await company.reader.step()
    assert await company.problems() == {}


async def test_a_missing_app_scope_is_reported_before_it_is_needed(company: Company) -> None:
    theirs = await company.connect(OTHER, "ext-1")
    theirs.scopes = ("ReadCallLog", "SubscriptionWebhook")
    await TokenRefresher(company.connections, company.clock).step()
    assert await company.problems() == {(OTHER, "ext-1"): ["CMN-401"]}
    theirs.scopes = ("ReadCallLog", "SubscriptionWebhook", "CallControl")
    await TokenRefresher(company.connections, company.clock).step()
    assert await company.problems() == {}


async def test_an_added_account_is_recognised_even_without_credentials(company: Company) -> None:
    await company.connect(OTHER, "ext-1")
    async with company.database.write() as db:
        await db.execute(credentials.delete())
        assert await was_added(db, OTHER)
        assert not await was_added(db, ACCOUNT)
