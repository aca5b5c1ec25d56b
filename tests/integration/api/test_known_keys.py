"""A key is remembered for some seconds, and forgotten at once when it is revoked."""

import asyncio
from collections.abc import Collection

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api import keys, known_keys
from app.api.known_keys import REMEMBERED_SECONDS, Key, KnownKeys
from app.api.lookups import Lookups
from app.calls import accounts
from app.db.engine import Database
from app.db.tables import api_keys
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.work import wakeups
from app.work.wakeups import Wakeups
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import FakeClock
from tests.fakes.statements import counted


def opened(database: Database, clock: FakeClock) -> KnownKeys:
    listeners = Wakeups()
    database.waker = listeners.wake
    return KnownKeys(Lookups(database), listeners, clock)


async def test_a_key_is_looked_up_once(
    database: Database, clock: FakeClock, account: AccountId, api_key: str
) -> None:
    known = opened(database, clock)
    first = await known.find(api_key)
    with counted(database) as statements:
        assert await known.find(api_key) == first
    assert statements == []
    assert first is not None
    assert first.account_id == account


async def test_a_revoked_key_is_refused_at_once(
    database: Database, clock: FakeClock, account: AccountId, api_key: str
) -> None:
    known = opened(database, clock)
    key = await known.find(api_key)
    assert key is not None
    async with database.write() as db:
        await keys.revoke_key(db, UNBOUND_ACCOUNT, key.key_id, clock.now())
    assert await known.find(api_key) is None


async def test_a_key_that_another_process_revoked_is_refused_after_seconds(
    database: Database, clock: FakeClock, account: AccountId, api_key: str
) -> None:
    known = opened(database, clock)
    assert await known.find(api_key) is not None
    async with database.write() as db:
        await db.execute(update(api_keys).values(revoked_at=clock.now()))
    clock.advance(REMEMBERED_SECONDS)
    assert await known.find(api_key) is None


async def test_a_key_of_an_account_that_is_not_known_yet_is_looked_up_each_time(
    database: Database, clock: FakeClock, api_key: str
) -> None:
    known = opened(database, clock)
    key = await known.find(api_key)
    assert key is not None
    assert key.account_id == UNBOUND_ACCOUNT
    async with database.write() as db:
        await accounts.open_unbound(db, clock.now())
        await accounts.bind(db, ACCOUNT, clock.now())
    key = await known.find(api_key)
    assert key is not None
    assert key.account_id == ACCOUNT


async def test_an_unknown_key_is_not_remembered(
    database: Database, clock: FakeClock, account: AccountId
) -> None:
    known = opened(database, clock)
    assert await known.find("ak_no-such-key") is None
    async with database.write() as db:
        made = await keys.create_key(db, account, "later", clock.now())
    assert await known.find(made.plain) is not None


async def test_what_was_looked_up_before_a_revocation_is_not_remembered(
    database: Database,
    clock: FakeClock,
    account: AccountId,
    api_key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = opened(database, clock)
    key = await known.find(api_key)
    assert key is not None
    clock.advance(REMEMBERED_SECONDS)
    look_up = known_keys.load_keys
    requests: list[asyncio.Task[Key | None]] = []

    async def slow(db: AsyncConnection, digests: Collection[str]) -> dict[str, Key]:
        found = await look_up(db, digests)
        monkeypatch.setattr(known_keys, "load_keys", look_up)
        assert database.waker is not None
        database.waker({wakeups.KEYS})  # a revocation, and a request that hears of it
        requests.append(asyncio.create_task(known.find("ak_another-key")))
        await asyncio.sleep(0)
        return found

    monkeypatch.setattr(known_keys, "load_keys", slow)
    assert await known.find(api_key) == key
    assert await requests[0] is None
    with counted(database) as statements:
        await known.find(api_key)
    assert statements != [], "it is looked up again"


async def test_requests_that_arrive_together_share_a_look_up(
    database: Database, clock: FakeClock, account: AccountId, api_key: str
) -> None:
    known = opened(database, clock)
    async with database.write() as db:
        other = await keys.create_key(db, account, "other", clock.now())
    first = asyncio.create_task(known.find(api_key))
    await asyncio.sleep(0)
    with counted(database) as statements:
        plain = (api_key, other.plain, "ak_no-such-key")
        found = await asyncio.gather(*(known.find(one) for one in plain * 20))
    assert [key and key.name for key in found[:3]] == [(await first).name, "other", None]  # type: ignore[union-attr]
    assert found == found[:3] * 20
    assert len([one for one in statements if "api_keys" in one]) <= 2
