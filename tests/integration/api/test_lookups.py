"""Look-ups that are asked for at the same time share a statement, and fail and succeed for all who wait."""

import asyncio
from collections.abc import Collection, Mapping

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.lookups import MOST_KEYS, Lookups
from app.db.engine import Database
from app.errors import StorageUnavailable


class Loads:
    """A `load` that finds the square of each even number. It notes its keys, and waits while it is held."""

    def __init__(self) -> None:
        self.keys: list[set[int]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.errors: list[Exception] = []

    async def __call__(self, db: AsyncConnection, keys: Collection[int]) -> Mapping[int, int]:
        self.keys.append(set(keys))
        await self.free.wait()
        await db.execute(text("SELECT 1"))
        if self.errors:
            raise self.errors.pop(0)
        return {key: key * key for key in keys if key % 2 == 0}


async def ask(lookups: Lookups, loads: Loads, *keys: int) -> "list[asyncio.Task[int | None]]":
    """Ask for keys, each in a task of its own, and let them begin."""
    tasks = [asyncio.create_task(lookups.find(loads, key)) for key in keys]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def held(loads: Loads, statements: int) -> None:
    """Wait until this many statements have begun."""
    async with asyncio.timeout(30):
        while len(loads.keys) < statements:  # noqa: ASYNC110 - the database knows of no event
            await asyncio.sleep(0.001)


async def test_what_is_asked_for_during_a_statement_shares_the_next_one(database: Database) -> None:
    lookups, loads = Lookups(database), Loads()
    loads.free.clear()
    first = await ask(lookups, loads, 2)
    await held(loads, 1)
    more = await ask(lookups, loads, 2, 3, 4, 4)
    loads.free.set()
    assert await asyncio.gather(*first, *more) == [4, 4, None, 16, 16]
    # Not even what is asked for again is taken from a statement that began before.
    assert loads.keys == [{2}, {2, 3, 4}]


async def test_a_statement_has_a_limited_number_of_keys(database: Database) -> None:
    lookups, loads = Lookups(database), Loads()
    tasks = await ask(lookups, loads, *range(2 * MOST_KEYS + 1))
    found = await asyncio.gather(*tasks)
    assert found[:5] == [0, None, 4, None, 16]
    assert [len(keys) for keys in loads.keys] == [MOST_KEYS, MOST_KEYS, 1]


async def test_an_error_reaches_all_who_share_the_statement_and_no_one_else(database: Database) -> None:
    lookups, loads = Lookups(database), Loads()
    loads.errors = [ValueError("odd")]
    tasks = await ask(lookups, loads, 2, 4)
    assert [str(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == ["odd", "odd"]
    assert await lookups.find(loads, 6) == 36


async def test_a_connection_that_was_lost_is_replaced_once(database: Database) -> None:
    lookups, loads = Lookups(database), Loads()
    loads.errors = [StorageUnavailable("gone")]
    assert await lookups.find(loads, 2) == 4
    loads.errors = [StorageUnavailable("gone"), StorageUnavailable("still gone")]
    with pytest.raises(StorageUnavailable, match="still"):
        await lookups.find(loads, 2)


async def test_who_leaves_takes_nothing_from_those_who_wait(database: Database) -> None:
    lookups, loads = Lookups(database), Loads()
    loads.free.clear()
    first, second = await ask(lookups, loads, 2, 4)
    await held(loads, 1)
    first.cancel()
    loads.free.set()
    assert await second == 16
    with pytest.raises(asyncio.CancelledError):
        await first
