"""What folding costs: deliveries that wait become calls, on a PostgreSQL that syncs each commit.

The limit in the same run writes as much without deciding anything: 50 calls a commit, each with the mark on
its delivery, in two statements over arrays.
"""

import json
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import asyncpg
from sqlalchemy import insert, text

from app.calls import accounts
from app.clock import SystemClock
from app.db.engine import Database
from app.db.migrations import migrate
from app.db.tables import deliveries
from app.ids import AccountId
from app.webhooks.folding.fold import Folder
from app.webhooks.folding.stages import EndRules
from app.work.context import WorkContext
from bench import notifications
from bench.scale.figures import Figure
from tests.cluster import Cluster

RULES = EndRules(quiet=3.0, handover=5.0, stale=4 * 3600.0, window=120.0)
PAIRS_A_COMMIT = 50
_ROWS_A_STATEMENT = 500

MARK = """
    UPDATE deliveries SET folded_at = now() FROM unnest($1::text[]) AS one(uuid)
    WHERE deliveries.account_id = $2 AND deliveries.uuid = one.uuid AND folded_at IS NULL
"""
UPSERT = """
    INSERT INTO limit_calls (id, version, body, updated_at)
    SELECT one.id, 1, one.body::jsonb, now() FROM unnest($1::text[], $2::text[]) AS one(id, body)
    ON CONFLICT (id) DO UPDATE SET version = limit_calls.version + 1, body = excluded.body, updated_at = now()
"""


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a throwaway PostgreSQL that syncs to disk."""
    server = Cluster(fsync=True)
    try:
        yield server
    finally:
        server.stop()


async def fill(database: Database, account_ids: Sequence[str], count: int, first: int = 10**9) -> None:
    """Store deliveries that wait: of each account in turn, in the order in which they arrived.

    `first`: the number of the first event, which makes them unique. The server counts the rows afterwards, as
    it does by itself within a minute: a table that it has never counted is read as a whole.
    """
    now = datetime.now(UTC) - timedelta(minutes=10)
    bodies = islice(notifications.bodies(first), count)
    rows = []
    for number, body in enumerate(bodies):
        account_id = account_ids[number % len(account_ids)]
        raw = body.replace(notifications.ACCOUNT.encode(), account_id.encode())
        read = json.loads(raw)
        rows.append(
            {
                "account_id": account_id,
                "uuid": read["uuid"],
                "received_at": now + timedelta(milliseconds=number),
                "telephony_session_id": read["body"]["telephonySessionId"],
                "raw": raw,
            }
        )
    async with database.write() as db:
        for account_id in account_ids:
            await accounts.add(db, AccountId(account_id), now)
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        async with database.write() as db:
            await db.execute(insert(deliveries), rows[start : start + _ROWS_A_STATEMENT])
    if len(rows) > _ROWS_A_STATEMENT:
        async with database.write() as db:
            await db.execute(text("ANALYZE deliveries"))


async def fold_all(database: Database) -> None:
    """Fold until nothing waits."""
    context = WorkContext(database=database, clock=SystemClock(), replica="bench")
    folder = Folder(context, RULES)
    while await folder.step() == 0.0:
        pass
    await folder.close()


async def limit_rate(server: Cluster, count: int) -> float:
    """Return how many pairs a second are written set-wise, by one connection."""
    url = server.url().replace("+asyncpg", "")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "CREATE TABLE limit_calls (id text PRIMARY KEY, version int, body jsonb, updated_at timestamptz)"
        )
        waiting = [
            (row["uuid"], row["telephony_session_id"], row["raw"].decode())
            for row in await connection.fetch(
                "SELECT uuid, telephony_session_id, raw FROM deliveries WHERE folded_at IS NULL"
                " ORDER BY received_at LIMIT $1",
                count,
            )
        ]
        began = time.perf_counter()
        for start in range(0, len(waiting), PAIRS_A_COMMIT):
            await _write_pairs(connection, waiting[start : start + PAIRS_A_COMMIT])
        seconds = time.perf_counter() - began
        await connection.execute("DROP TABLE limit_calls; UPDATE deliveries SET folded_at = NULL")
        return len(waiting) / seconds
    finally:
        await connection.close()


async def _write_pairs(connection: Any, pairs: Sequence[tuple[str, str, str]]) -> None:
    last = {session: raw for _, session, raw in pairs}
    async with connection.transaction():
        await connection.execute(MARK, [uuid for uuid, _, _ in pairs], notifications.ACCOUNT)
        await connection.execute(UPSERT, list(last), list(last.values()))


async def measure(quick: bool) -> list[Figure]:
    """Measure one account with one worker."""
    count = 3600 if quick else 14400
    with cluster() as server:
        database = Database(server.url())
        try:
            await migrate(database)
            await fill(database, [notifications.ACCOUNT], count)
            limit = await limit_rate(server, count)
            began, cpu = time.perf_counter(), _cpu_seconds()
            await fold_all(database)
            seconds, cpu = time.perf_counter() - began, _cpu_seconds() - cpu
            hot = await _share_of_hot_updates(server)
        finally:
            await database.close()
    rate = count / seconds
    return [
        Figure(
            "deliveries folded per second, one account, one worker",
            f"{rate:.0f} ({rate / limit:.2f} of the limit), {1e6 * cpu / count:.0f} us of CPU each",
            f"{limit:.0f} set-wise, {PAIRS_A_COMMIT} a commit",
            ">= 0.25 of the limit",
            rate / limit >= 0.25,
        ),
        Figure("updates of calls that touch no index", f"{hot:.0%}", "", "", None),
    ]


async def _share_of_hot_updates(server: Cluster) -> float:
    connection = await asyncpg.connect(server.url().replace("+asyncpg", ""))
    try:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        row = await connection.fetchrow(
            "SELECT n_tup_hot_upd AS hot, n_tup_upd AS of_all"
            " FROM pg_stat_user_tables WHERE relname = 'calls'"
        )
        return row["hot"] / row["of_all"] if row["of_all"] else 0.0
    finally:
        await connection.close()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
