"""No outage hides a call: whatever kept deliveries out, it is a gap, its calls are found, and no call stays
live.

Events that are refused do not come again, nothing but the sweep of a gap finds calls without events, and a
call that is silent would stay live for hours.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from app.simulator.scripting.casting import CallOptions
from tests.cluster import Cluster
from tests.e2e.test_completeness import BY_SWEEPS_OF_GAPS_ALONE, DONE, RARE_LOOKS, Watched, watched
from tests.postgres_binaries import NoPostgres

NO_SECOND_CHANCE = BY_SWEEPS_OF_GAPS_ALONE.model_copy(
    update={
        "redelivery_delays_seconds": (),
        "suspend_after_seconds": 600_000.0,
        "suspend_after_failures": 1_000_000,
    }
)
SCRIPTS = ("outbound_answered", "inbound_direct", "queue_answered", "blind_transfer")
OURS = {"service-down", "deliveries-not-stored"}


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A PostgreSQL of its own, since it will be stopped."""
    request.getfixturevalue("postgres")  # skips, or fails, where there is none
    try:
        own = Cluster()
    except NoPostgres as reason:
        pytest.fail(f"a second PostgreSQL did not start: {reason}")
    yield own
    own.stop()


def path_of(url: str) -> str:
    return url.removeprefix("sqlite+aiosqlite:///")


@asynccontextmanager
async def locked_table(url: str) -> AsyncIterator[None]:
    """Hold what CREATE INDEX holds."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE deliveries IN SHARE MODE")
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def full_disk(url: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;"
            "CREATE TRIGGER full_disk BEFORE INSERT ON deliveries EXECUTE FUNCTION full_disk()"
        )
        yield
        await connection.execute("DROP FUNCTION full_disk CASCADE")
    finally:
        await connection.close()


@asynccontextmanager
async def locked_file(url: str) -> AsyncIterator[None]:
    other = sqlite3.connect(path_of(url), isolation_level=None, timeout=30)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


@asynccontextmanager
async def unwritable_file(url: str) -> AsyncIterator[None]:
    other = sqlite3.connect(path_of(url), isolation_level=None, timeout=30)
    other.execute(
        "CREATE TRIGGER unwritable BEFORE INSERT ON deliveries"
        " BEGIN SELECT RAISE(ABORT, 'attempt to write a readonly database'); END"
    )
    yield
    other.execute("DROP TRIGGER unwritable")
    other.close()


@asynccontextmanager
async def stopped(cluster: Cluster) -> AsyncIterator[None]:
    await asyncio.to_thread(cluster.halt)
    yield
    await asyncio.to_thread(cluster.start)


def play(here: Watched, talk_seconds: float) -> set[str]:
    """Start a call of each kind; return their sessions."""
    wishes = CallOptions(talk_seconds=talk_seconds, ring_seconds=2)
    calls = [
        here.simulator.start_call(script, wishes, delay_seconds=place) for place, script in enumerate(SCRIPTS)
    ]
    return {session.telephony_session_id for call in calls for session in call.sessions}


async def begun(here: Watched, talk_seconds: float = 240.0) -> set[str]:
    """Start calls that will end in the outage; return their sessions once the service knows of them."""
    sessions = play(here, talk_seconds)

    async def all_are_known() -> bool:
        return sessions <= set(await here.stages())

    await here.until(all_are_known, "calls are not heard of")
    return sessions


async def refused(here: Watched) -> None:
    """Wait until calls have begun and ended without the service."""

    async def all_ended() -> bool:
        failures = [one for one in here.simulator.webhooks.latest if one["failure"] is not None]
        return here.simulator.all_ended and len(failures) > len(SCRIPTS)

    play(here, 10.0)
    await here.until(all_ended, "calls go on, or no delivery was refused")


async def settled(here: Watched) -> None:
    """Wait until every call is there, none is live, and the gap is swept."""
    await here.until_complete()

    async def nothing_is_open() -> bool:
        told = await here.get("/v1/ops/gaps")
        gaps = [one for one in told["deliveries"] if one["reason"] in OURS]
        return (
            bool(gaps)
            and not told["live"]
            and all(one["state"] == "swept" or one["sweptUntil"] for one in gaps)
        )

    await here.until(nothing_is_open, "the gap is not swept, or calls are live")
    stages = await here.stages()
    assert {stage for stage, _ in stages.values()} <= DONE
    assert set(stages) == here.sessions(), "each of them, and none twice"


@pytest.mark.parametrize("outage", [locked_table, full_disk], ids=["locked", "full"])
async def test_what_keeps_deliveries_out_of_postgresql_hides_no_call(
    postgres_url: str, tmp_path: Path, outage: object
) -> None:
    async with watched(postgres_url, tmp_path, NO_SECOND_CHANCE, **RARE_LOOKS) as here:
        await begun(here)
        async with outage(postgres_url):  # type: ignore[operator]
            await refused(here)
        await settled(here)
        assert await here.gaps("deliveries-not-stored")


@pytest.mark.parametrize("outage", [locked_file, unwritable_file], ids=["locked", "unwritable"])
async def test_what_keeps_deliveries_out_of_sqlite_hides_no_call(
    sqlite_url: str, tmp_path: Path, outage: object
) -> None:
    async with watched(sqlite_url, tmp_path, NO_SECOND_CHANCE, **RARE_LOOKS) as here:
        await begun(here)
        async with outage(sqlite_url):  # type: ignore[operator]
            await refused(here)
        await settled(here)


async def test_a_postgresql_that_is_stopped_and_started_hides_no_call(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with watched(cluster.url(), tmp_path, NO_SECOND_CHANCE, **RARE_LOOKS) as here:
        await begun(here)
        async with stopped(cluster):
            await refused(here)
        await settled(here)


async def test_a_service_that_is_killed_while_it_refuses_hides_no_call(
    postgres_url: str, tmp_path: Path
) -> None:
    async with watched(postgres_url, tmp_path, NO_SECOND_CHANCE, **RARE_LOOKS) as here:
        await begun(here)
        async with locked_table(postgres_url):
            await refused(here)
            here.service.kill()
        await here.service.start()
        await settled(here)


async def test_a_short_restart_hides_no_call(sqlite_url: str, tmp_path: Path) -> None:
    async with watched(sqlite_url, tmp_path, NO_SECOND_CHANCE, **RARE_LOOKS) as here:
        await begun(here)
        await here.service.stop()
        await refused(here)
        await here.service.start()
        await settled(here)
        assert await here.gaps("service-down")
