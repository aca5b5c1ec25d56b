"""All connections as loops see them: read again only once something has changed."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from app.accounts.access import Access, Level
from app.accounts.connections import Connections
from app.accounts.credentials import CredentialKind, Secret, remove, save
from app.db.engine import Database
from app.db.tables import credentials
from app.ids import AccountId
from app.ringcentral.stored_tokens import StoredToken
from app.work.wakeups import CREDENTIALS, Wakeups
from tests.fakes.clock import START, FakeClock
from tests.fakes.desk import VAULT
from tests.fakes.ringcentral import FakeConnections, FakeRingCentral
from tests.fakes.statements import counted

TEA, COFFEE = AccountId("908070001"), AccountId("908070002")
TOKEN = StoredToken(access_token="t", issued_at=START, expires_at=START + timedelta(hours=1), fingerprint="f")


@pytest.fixture
def connections(database: Database, clock: FakeClock, make_settings: Any) -> Connections:
    settings = make_settings(rc_client_id="app", rc_client_secret="secret")
    return FakeConnections(FakeRingCentral(clock), settings, database, clock)


async def add(database: Database, clock: FakeClock, account_id: AccountId, **access: Any) -> None:
    secret = Secret("app", "secret", "jwt")
    async with database.write() as db:
        stored = Access(**access).to_json()
        await save(db, VAULT, account_id, "user", CredentialKind.JWT, secret, TOKEN, stored, clock.now())


def holders(connections: Any) -> list[str]:
    return [one.holder for one in connections]


async def test_it_is_read_once_while_nothing_changes(
    connections: Connections, database: Database, clock: FakeClock
) -> None:
    await add(database, clock, TEA)
    first = await connections.snapshot()
    assert holders(first) == [TEA]
    with counted(database) as statements:
        for _ in range(60):
            clock.advance(1)
            assert await connections.snapshot() is first
    assert 1 <= len(statements) <= 5, "whether it is still valid is asked now and then"


async def test_a_change_is_seen_at_once_where_wake_ups_arrive(
    connections: Connections, database: Database, clock: FakeClock
) -> None:
    wakeups = Wakeups()
    database.waker = wakeups.wake
    with wakeups.tell(CREDENTIALS, lambda _: connections.forget()):
        await add(database, clock, TEA)
        assert holders(await connections.snapshot()) == [TEA]
        await add(database, clock, COFFEE)
        assert holders(await connections.snapshot()) == [TEA, COFFEE]
        async with database.write() as db:
            await remove(db, TEA, "user")
        assert holders(await connections.snapshot()) == [COFFEE]


async def test_a_change_is_seen_soon_where_they_do_not(
    connections: Connections, database: Database, clock: FakeClock
) -> None:
    await add(database, clock, TEA)
    first = await connections.snapshot()
    clock.advance(1)
    await add(database, clock, COFFEE)
    clock.advance(20)
    assert holders(await connections.snapshot()) == [TEA, COFFEE]
    async with database.write() as db:
        await db.execute(delete(credentials).where(credentials.c.account_id == TEA))
    clock.advance(20)
    assert holders(await connections.snapshot()) == [COFFEE]
    assert holders(first) == [TEA]


async def test_what_says_the_same_is_read_again_after_minutes(
    connections: Connections, database: Database, clock: FakeClock
) -> None:
    await add(database, clock, TEA)
    assert (await connections.snapshot())[0].is_company_wide
    limited = Access(level=Level.EXTENSION, extension_id=None).to_json()
    async with database.write() as db:
        # The clock of whoever wrote it is behind.
        await db.execute(update(credentials).values(access=limited))
    clock.advance(400)
    assert not (await connections.snapshot())[0].is_company_wide


async def test_it_ends_when_credentials_are_to_be_tried_again(
    connections: Connections, database: Database, clock: FakeClock
) -> None:
    probe_at = clock.now() + timedelta(seconds=5)
    await add(database, clock, TEA, level=Level.EXTENSION, probe_at=probe_at)
    assert not (await connections.snapshot())[0].is_company_wide
    clock.advance(5)
    assert (await connections.snapshot())[0].is_company_wide


async def test_many_accounts_are_read_together(
    connections: Connections, database: Database, clock: FakeClock
) -> None:
    await add(database, clock, TEA)
    await add(database, clock, COFFEE)
    other = AccountId("908070003")
    with counted(database) as statements:
        found = await connections.of_all([TEA, COFFEE, other])
    assert {account_id: holders(each) for account_id, each in found.items()} == {
        TEA: [TEA],
        COFFEE: [COFFEE],
        other: [],
    }
    assert len(statements) == 2
    with counted(database) as statements:
        assert (await connections.of_all([TEA]))[TEA] is found[TEA]
    assert statements == []
