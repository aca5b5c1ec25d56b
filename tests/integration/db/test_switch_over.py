"""Several hosts, and servers that stop accepting writes."""

import socket

import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.errors import StorageUnavailable
from tests.cluster import Cluster, free_port


async def test_the_responding_host_of_several_is_used(postgres: Cluster, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{postgres.port}"
    database = Database(f"postgresql://{postgres.superuser}@{hosts}/{name}")
    async with database.write() as db:
        assert await db.scalar(text("SELECT current_setting('application_name')")) == "aftercall"
    await database.close()


async def test_a_silent_host_does_not_prevent_trying_the_others(postgres: Cluster, postgres_url: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        name = postgres_url.rpartition("/")[2]
        hosts = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{postgres.port}"
        database = Database(
            f"postgresql://{postgres.superuser}@{hosts}/{name}?connect_timeout=1&sslmode=disable"
        )
        async with database.read() as db:
            assert await db.scalar(text("SELECT 1")) == 1
        await database.close()


async def test_without_a_writable_host_the_database_is_unavailable(
    postgres: Cluster, postgres_url: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    hosts = f"127.0.0.1:{postgres.port},127.0.0.1:{postgres.port}"
    options = "options=-cdefault_transaction_read_only%3Don"
    database = Database(f"postgresql://{postgres.superuser}@{hosts}/{name}?{options}")
    with pytest.raises(StorageUnavailable, match="none of its hosts accepts writes"):
        async with database.write():
            pass
    await database.close()


async def change(database: Database) -> int:
    """Change something, and return the server process that did it."""
    async with database.write() as db:
        await db.execute(text("UPDATE accounts SET bound_to = bound_to"))
        return int(await db.scalar(text("SELECT pg_backend_pid()")) or 0)


async def test_a_connection_that_became_read_only_is_dropped(postgres_database: Database) -> None:
    before = await change(postgres_database)
    async with postgres_database.engine.connect() as db:
        await db.execute(text("SET SESSION default_transaction_read_only = on"))
        await db.commit()
    with pytest.raises(StorageUnavailable):
        await change(postgres_database)
    assert await change(postgres_database) != before
