"""The parts of the soak: virtual time, machines that die, and databases that time waits for."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.errors import StorageUnavailable
from tests.cluster import Cluster
from tests.soak.faults import Episode, Kind, Weather, draw_faults
from tests.soak.machines import Machine, adopt_tasks
from tests.soak.postgres_wire import Postgres
from tests.soak.sqlite_inline import InlineSqlite
from tests.soak.virtual_loop import EPOCH, NothingIsDueError, VirtualClock, VirtualLoop
from tests.soak.world import abandoned_connections

T = TypeVar("T")
HOUR = 3600.0


def run(play: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run in virtual time."""
    loop = VirtualLoop()
    adopt_tasks(loop)
    with abandoned_connections():
        try:
            return loop.run_until_complete(play(loop))
        finally:
            loop.close()


def on_sqlite(path: Path, play: Callable[[VirtualLoop, Weather], Awaitable[T]]) -> T:
    """Run in virtual time, on SQLite without threads."""

    async def start(loop: VirtualLoop) -> T:
        weather = Weather(1)
        with InlineSqlite(loop, weather).installed():
            return await play(loop, weather)

    return run(start)


def test_timers_fire_in_order_and_nobody_waits_for_them() -> None:
    fired: list[tuple[str, float]] = []

    async def play(loop: VirtualLoop) -> None:
        async def wait(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            fired.append((name, loop.time()))

        await asyncio.gather(wait("night", 8 * HOUR), wait("tea", 600.0), wait("month", 720 * HOUR))

    run(play)
    assert [name for name, _ in fired] == ["tea", "night", "month"]
    assert [moment for _, moment in fired] == pytest.approx([600.0, 8 * HOUR, 720 * HOUR])


def test_a_time_out_is_one_of_virtual_time() -> None:
    async def play(loop: VirtualLoop) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HOUR):
                await asyncio.Event().wait()
        return loop.time()

    assert run(play) == pytest.approx(HOUR)


def test_a_loop_in_which_nothing_can_happen_any_more_says_so() -> None:
    async def play(_: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingIsDueError):
        run(play)


def test_clocks_of_machines_differ_by_what_they_are_wrong() -> None:
    async def play(loop: VirtualLoop) -> tuple[float, float]:
        right, wrong = VirtualClock(loop), VirtualClock(loop, ahead_seconds=-2.0)
        await right.sleep(10.0)
        return (right.now() - EPOCH).total_seconds(), (wrong.now() - EPOCH).total_seconds()

    assert run(play) == pytest.approx((10.0, 8.0))


def test_the_tasks_of_a_dead_machine_end_even_if_they_resist() -> None:
    async def play(loop: VirtualLoop) -> list[str]:
        said: list[str] = []
        machine = Machine("replica", loop, VirtualClock(loop))

        async def stubborn() -> None:
            try:
                await asyncio.sleep(HOUR)
            except asyncio.CancelledError:
                said.append("cancelled")
                await asyncio.sleep(HOUR)
            finally:
                said.append("ended")

        async def parent() -> None:
            await asyncio.gather(stubborn(), stubborn())

        machine.spawn(parent())
        await asyncio.sleep(1.0)
        await machine.bury()
        said.append(f"{loop.time():.0f}")
        return said

    assert run(play) == ["cancelled", "cancelled", "ended", "ended", "1"]


def test_what_a_dead_machine_had_not_committed_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    sqlite3.connect(path).execute("CREATE TABLE kept (name TEXT)").connection.close()

    async def play(loop: VirtualLoop, _: Weather) -> list[str]:
        machine = Machine("replica", loop, VirtualClock(loop))

        async def write() -> None:
            database = Database(f"sqlite:///{path}")
            async with database.write() as db:
                await db.execute(text("INSERT INTO kept VALUES ('committed')"))
            async with database.write() as db:
                await db.execute(text("INSERT INTO kept VALUES ('not committed')"))
                machine.fuse = 0
                await db.execute(text("INSERT INTO kept VALUES ('too late')"))

        writing = machine.spawn(write())
        with pytest.raises(StorageUnavailable):
            await writing
        await machine.bury()
        # The lock of the dead machine is free.
        database = Database(f"sqlite:///{path}")
        async with database.write() as db:
            names = list(await db.scalars(text("SELECT name FROM kept")))
        await database.close()
        return names

    assert on_sqlite(path, play) == ["committed"]


def test_a_writer_waits_in_virtual_time_for_the_lock_of_another(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    sqlite3.connect(path).execute("CREATE TABLE kept (name TEXT)").connection.close()

    async def play(loop: VirtualLoop, _: Weather) -> float:
        one, other = Database(f"sqlite:///{path}"), Database(f"sqlite:///{path}")

        async def hold() -> None:
            async with one.write() as db:
                await db.execute(text("INSERT INTO kept VALUES ('first')"))
                await asyncio.sleep(5.0)

        holding = asyncio.ensure_future(hold())
        await asyncio.sleep(1.0)
        async with other.write() as db:
            await db.execute(text("INSERT INTO kept VALUES ('second')"))
        waited = loop.time()
        await holding
        await one.close()
        await other.close()
        return waited

    assert 5.0 <= on_sqlite(path, play) < 6.0


def test_errors_of_the_database_are_outages_to_the_service(tmp_path: Path) -> None:
    async def play(_: VirtualLoop, weather: Weather) -> None:
        database = Database(f"sqlite:///{tmp_path / 'some.db'}")
        async with database.read() as db:
            await db.execute(text("SELECT 1"))
        weather.begin(Episode(0.0, 60.0, Kind.DATABASE_DOWN, 1.0, 0))
        with pytest.raises(StorageUnavailable, match="SQLITE_IOERR"):
            async with database.read() as db:
                await db.execute(text("SELECT 1"))
        await database.close()

    on_sqlite(tmp_path / "some.db", play)


def test_no_time_passes_while_postgresql_works(postgres: Cluster) -> None:
    async def play(loop: VirtualLoop) -> tuple[float, float]:
        with Postgres(loop, Weather(1)).installed():
            connection = await asyncpg.connect(f"{postgres.dsn()}?sslmode=disable")
            loop.call_later(HOUR, lambda: None)
            before = loop.time()
            await connection.execute("SELECT pg_sleep(0.2)")
            passed = loop.time() - before
            await connection.close()
            await asyncio.sleep(2 * HOUR)
        return passed, loop.time()

    passed, end = run(play)
    assert passed < 1.0
    assert end >= 2 * HOUR


def test_a_connection_to_postgresql_ends_with_its_machine(postgres: Cluster) -> None:
    async def play(loop: VirtualLoop) -> int:
        with Postgres(loop, Weather(1)).installed():
            address = f"{postgres.dsn()}?sslmode=disable"
            machine = Machine("replica", loop, VirtualClock(loop))
            doomed = await machine.spawn(asyncpg.connect(address))
            await doomed.execute("CREATE TABLE doomed (name text)")
            await doomed.execute("BEGIN; INSERT INTO doomed VALUES ('one')")
            machine.die()
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
                await doomed.execute("COMMIT")
            connection = await asyncpg.connect(address)
            await connection.execute("BEGIN; LOCK TABLE doomed")
            count = int(await connection.fetchval("SELECT count(*) FROM doomed"))
            await connection.execute("COMMIT; DROP TABLE doomed")
            await connection.close()
        return count

    assert run(play) == 0


def test_a_seed_draws_the_same_faults_again() -> None:
    drawn = draw_faults(7, 3.0, 2)
    assert drawn == draw_faults(7, 3.0, 2)
    assert drawn != draw_faults(8, 3.0, 2)
    assert {one.kind for one in drawn} == set(Kind)
    assert [one.at for one in drawn] == sorted(one.at for one in drawn)
