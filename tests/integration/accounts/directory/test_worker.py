"""The directory of an account, read from a simulated RingCentral over HTTP, on both databases."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.accounts.access import Level
from app.accounts.directory import store
from app.accounts.directory.reading import read_directory
from app.accounts.directory.worker import DirectoryReader
from app.calls.accounts import open_unbound
from app.calls.company import load_company
from app.calls.evidence.people import UNKNOWN_COMPANY, Company
from app.calls.regions import store_home_country
from app.db.tables import accounts, directories, extensions, work
from app.errors import RingCentralUnreachable
from app.ids import AccountId
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import FakeClock
from tests.fakes.context import accounts_context
from tests.fakes.reader_stage import Stage

ANA, BEN, IDA, QUEUE = "711000101", "711000102", "711000109", "711000900"
HOUR = 3600.0
TEA = AccountId(ACCOUNT)


class Registry:
    """The worker, a clock that the test moves, and what is stored."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.clock = FakeClock(stage.process.clock.now())
        self.reader = self.make_reader("one")

    def make_reader(self, replica: str) -> DirectoryReader:
        context = accounts_context(
            self.stage.database, self.clock, self.stage.process.connections, replica=replica
        )
        return DirectoryReader(context, HOUR)

    async def read_again(self) -> None:
        """Let an hour pass and read."""
        self.clock.advance(HOUR + 1)
        await self.reader.step()

    def asked(self) -> list[str]:
        """The statuses and paths of the requests since the last call of this."""
        found = [
            f"{one['status']} {one['path'].rsplit('/~')[-1] or '/'}"
            for one in self.stage.asked("/account/~")
            if "active-calls" not in one["path"]
        ]
        self.stage.simulator.requests.latest.clear()
        return found

    async def state(self) -> store.StoredDirectory:
        async with self.stage.database.read() as db:
            return await store.load(db, TEA)

    async def company(self) -> Company:
        async with self.stage.database.read() as db:
            return await load_company(db, TEA)

    async def rows(self) -> Mapping[str, Any]:
        async with self.stage.database.read() as db:
            return {row.extension_id: row for row in await db.execute(select(extensions))}

    async def due_in(self) -> float:
        async with self.stage.database.read() as db:
            due_at = await db.scalar(select(work.c.due_at).where(work.c.kind == store.KIND))
        assert due_at is not None
        return float((due_at - self.clock.now()).total_seconds())


@pytest.fixture
async def registry(any_stage: Stage) -> AsyncIterator[Registry]:
    found = Registry(any_stage)
    yield found
    await found.reader.close()


async def test_the_people_and_the_country_of_an_account_are_read_and_kept(registry: Registry) -> None:
    assert await registry.company() is UNKNOWN_COMPANY
    await registry.reader.step()
    assert registry.asked() == ["200 /", "200 /directory/entries"]
    company = await registry.company()
    assert (company.region, company.main_numbers) == ("US", frozenset({"+15550100100"}))
    ana = company.find(phone_number="+15550100101")
    assert ana is not None
    assert (ana.extension_id, ana.name, ana.email) == (ANA, "Ana Ruiz", "ana.ruiz@northwind-tea.example")
    assert company.owner_of_private("+15550166007") is ana
    assert not company.owns("+15550166007")
    assert company.people[QUEUE].kind == "Department"
    assert company.people[IDA].status == "Disabled"
    state = await registry.state()
    assert (state.source, state.problem, state.read_at) == ("directory", None, registry.clock.now())
    assert state.time_zone == "America/Los_Angeles"
    assert await registry.due_in() == HOUR


async def test_a_directory_that_is_not_due_is_not_read(registry: Registry) -> None:
    await registry.reader.step()
    registry.asked()
    await registry.reader.step()
    registry.clock.advance(HOUR - 1)
    await registry.reader.step()
    assert registry.asked() == []


async def test_an_unchanged_directory_costs_a_304_and_keeps_its_version(registry: Registry) -> None:
    await registry.reader.step()
    before, company = await registry.state(), await registry.company()
    registry.asked()
    await registry.read_again()
    assert registry.asked() == ["200 /", "304 /directory/entries"]
    after = await registry.state()
    assert after.version == before.version
    assert after.read_at == registry.clock.now()
    assert await registry.company() is company


async def test_a_new_process_reads_everything_once(registry: Registry) -> None:
    await registry.reader.step()
    version = (await registry.state()).version
    registry.asked()
    registry.reader = registry.make_reader("two")
    await registry.read_again()
    assert registry.asked() == ["200 /", "200 /directory/entries"]
    assert (await registry.state()).version == version


async def test_a_person_who_has_left_keeps_the_name_and_loses_the_numbers(registry: Registry) -> None:
    await registry.reader.step()
    version = (await registry.state()).version
    registry.stage.faults(former_extensions=(BEN,))
    await registry.read_again()
    left_at = registry.clock.now()
    company = await registry.company()
    assert (await registry.state()).version != version
    ben = company.find(extension_id=BEN)
    assert ben is not None
    assert (ben.name, ben.extension_number) == ("Ben Cho", "102")
    assert company.find(phone_number="+15550100102") is None
    assert company.find(extension_number="102") is None
    assert (await registry.rows())[BEN].left_at == left_at
    await registry.read_again()
    assert (await registry.rows())[BEN].left_at == left_at


async def test_a_person_who_returns_is_found_again(registry: Registry) -> None:
    registry.stage.faults(former_extensions=(BEN,))
    await registry.reader.step()
    assert BEN not in (await registry.rows())
    registry.stage.faults()
    await registry.read_again()
    registry.stage.faults(former_extensions=(BEN,))
    await registry.read_again()
    registry.stage.faults()
    await registry.read_again()
    assert (await registry.rows())[BEN].left_at is None
    assert (await registry.company()).find(phone_number="+15550100102") is not None


async def test_people_of_other_accounts_are_never_stored(registry: Registry) -> None:
    registry.stage.faults(federated_account=True)
    await registry.reader.step()
    assert "822000101" not in await registry.rows()


async def test_without_the_scope_what_is_missing_is_stored_and_asked_for_rarely(registry: Registry) -> None:
    registry.stage.faults(missing_scopes=("ReadAccounts",))
    await registry.reader.step()
    # The lists need the same scope, so they are not asked.
    assert registry.asked() == ["403 /"]
    state = await registry.state()
    assert state.problem is not None
    assert (state.problem["code"], state.problem["permission"]) == ("CMN-401", "ReadAccounts")
    assert "developer console" in state.problem["detail"]
    assert (state.source, await registry.due_in()) == (None, HOUR)
    assert await registry.company() == UNKNOWN_COMPANY
    await registry.reader.step()
    assert registry.asked() == []


async def test_a_refusal_keeps_what_was_read_and_since_when_it_lasts(registry: Registry) -> None:
    await registry.reader.step()
    registry.stage.faults(missing_scopes=("ReadAccounts",))
    await registry.read_again()
    since = registry.clock.now()
    await registry.read_again()
    state = await registry.state()
    assert state.problem is not None
    assert state.problem["since"] == since.isoformat()
    assert (await registry.company()).find(extension_id=ANA) is not None
    registry.stage.faults()
    await registry.reader.retry()
    assert (await registry.state()).problem is None


async def test_the_list_of_extensions_takes_the_place_of_a_refused_directory(registry: Registry) -> None:
    registry.stage.faults(directory_available=False)
    await registry.reader.step()
    assert registry.asked() == ["200 /", "403 /directory/entries", "200 /extension"]
    company = await registry.company()
    ana = company.find(extension_id=ANA)
    assert ana is not None
    assert (ana.name, ana.email) == ("Ana Ruiz", "ana.ruiz@northwind-tea.example")
    assert company.owner_of_private("+15550166007") is ana
    assert (await registry.state()).source == "extensions"


async def test_direct_numbers_outlast_a_time_without_the_directory(registry: Registry) -> None:
    await registry.reader.step()
    registry.stage.faults(directory_available=False)
    registry.reader = registry.make_reader("two")
    await registry.read_again()
    assert (await registry.state()).source == "extensions"
    ana = (await registry.company()).find(phone_number="+15550100101")
    assert ana is not None
    assert ana.extension_id == ANA
    version = (await registry.state()).version
    await registry.read_again()
    assert (await registry.state()).version == version


async def test_if_both_lists_are_refused_the_permission_is_named(registry: Registry) -> None:
    registry.stage.faults(directory_available=False, missing_permissions=("ReadExtensions",))
    await registry.reader.step()
    problem = (await registry.state()).problem
    assert problem is not None
    assert (problem["code"], problem["permission"]) == ("CMN-408", "ReadExtensions")


async def test_a_rate_limit_is_waited_for(registry: Registry) -> None:
    registry.stage.faults(global_limit=True)
    await registry.reader.step()
    state = await registry.state()
    assert (state.version, state.problem) == (None, None)
    assert 0 < await registry.due_in() < 300


async def test_failures_are_retried_with_a_growing_pause(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise RingCentralUnreachable("no answer")

    monkeypatch.setattr("app.accounts.directory.worker.read_directory", fail)
    await registry.reader.step()
    assert await registry.due_in() == 60
    registry.clock.advance(61)
    await registry.reader.step()
    assert await registry.due_in() == 120
    monkeypatch.undo()
    registry.clock.advance(121)
    await registry.reader.step()
    assert await registry.due_in() == HOUR
    assert (await registry.state()).problem is None


async def test_only_one_of_two_replicas_reads(registry: Registry) -> None:
    other = registry.make_reader("two")
    await asyncio.gather(registry.reader.step(), other.step())
    await asyncio.gather(registry.reader.step(), other.step())
    assert registry.asked() == ["200 /", "200 /directory/entries"]
    async with registry.stage.database.read() as db:
        assert await db.scalar(select(func.count()).select_from(directories)) == 1


async def test_what_a_replica_without_the_lease_has_read_is_dropped(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*given: Any) -> Any:
        found = await read_directory(*given)
        async with registry.stage.database.write() as db:
            await db.execute(update(work).where(work.c.kind == store.KIND).values(lease_owner="two"))
        return found

    monkeypatch.setattr("app.accounts.directory.worker.read_directory", slow)
    await registry.reader.step()
    assert (await registry.state()).version is None


async def test_credentials_of_another_account_bring_nobody(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = AccountId("908070002")
    async with registry.stage.database.write() as db:
        await db.execute(
            accounts.insert().values(account_id=other, timeline_seq=0, created_at=registry.clock.now())
        )
    connections = registry.stage.process.connections
    own = await connections.of(TEA)
    assert [one.access.level for one in own] == [Level.ACCOUNT]

    async def any_account(account_id: AccountId) -> Any:
        return own

    monkeypatch.setattr(connections, "of", any_account)
    await registry.reader.step()
    async with registry.stage.database.read() as db:
        found = set(await db.scalars(select(extensions.c.account_id)))
        assert found == {TEA}
        assert (await store.load(db, other)).source is None


async def test_an_account_without_credentials_waits_for_them(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(account_id: AccountId) -> Any:
        return []

    monkeypatch.setattr(registry.stage.process.connections, "of", none)
    await registry.reader.step()
    problem = (await registry.state()).problem
    assert problem is not None
    assert problem["code"] == "no-credentials"
    assert await registry.due_in() == 60


async def test_a_large_directory_is_read_page_by_page(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ringcentral.protocol.directory.LARGEST_PAGE", 5)
    await registry.reader.step()
    assert registry.asked() == ["200 /", *["200 /directory/entries"] * 3]
    assert len(await registry.rows()) == len(registry.stage.simulator.company.extensions)
    await registry.read_again()
    assert registry.asked() == ["200 /", *["304 /directory/entries"] * 3]
    registry.stage.faults(former_extensions=("711000900",))
    await registry.read_again()
    assert (await registry.rows())["711000900"].left_at == registry.clock.now()
    assert {row.left_at for key, row in (await registry.rows()).items() if key != "711000900"} == {None}


async def test_the_home_country_of_the_settings_overrules_the_accounts(registry: Registry) -> None:
    await registry.reader.step()
    async with registry.stage.database.read() as db:
        assert (await load_company(db, TEA)).region == "US"
    async with registry.stage.database.write() as db:
        await open_unbound(db, registry.clock.now())
        await store_home_country(db, "DE")
    async with registry.stage.database.read() as db:
        assert (await load_company(db, TEA)).region == "DE"
        assert (await load_company(db, AccountId("1"))) == Company(region="DE")
