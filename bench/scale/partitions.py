"""What a timeline in one partition a day would cost, beside the table as it is; and what deleting costs.

The same rows in both, read by the statements of the feed, of the timeline of a call, and of the deletion of a
call. See docs/decisions/partitioned-deliveries.md.
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from bench.scale.figures import Figure
from bench.scale.folding import cluster

DAYS = 90
ACCOUNTS = 50
CHANGES_A_DAY = 100
BATCH = 400

_COLUMNS = """
    account_id varchar(128), seq bigint, call_id varchar(40), version int, type varchar(48), at timestamptz,
    data jsonb, mark varchar(12)
"""
_FILL = f"""
    SELECT a::text, n, 'call_' || n / 8, 1, 'call.updated',
        '2026-01-01'::timestamptz + n * interval '1 day' / {CHANGES_A_DAY},
        '{{"stage": "live", "source": "webhook"}}'::jsonb, 'abcdefabcdef'
    FROM generate_series(1, {ACCOUNTS}) a, generate_series(0, {DAYS * CHANGES_A_DAY - 1}) n
"""  # noqa: S608 - the numbers are ours
_AFTER = "SELECT * FROM {table} WHERE account_id = $1 AND seq >= $2 ORDER BY seq LIMIT 202"
_OF_CALL = "SELECT * FROM {table} WHERE account_id = $1 AND call_id = $2 ORDER BY seq"
_DELETE = "DELETE FROM {table} WHERE account_id = $1 AND call_id = $2"


async def measure(quick: bool) -> list[Figure]:
    """Measure both tables on one server."""
    tries = 60 if quick else 300
    with cluster() as server:
        connection = await asyncpg.connect(server.url().replace("+asyncpg", ""))
        try:
            await _create(connection)
            times = {table: await _measure_table(connection, table, tries) for table in ("plain", "parted")}
            batch = await _delete_oldest(connection)
        finally:
            await connection.close()
    figures = [
        Figure(
            f"timeline in {DAYS} partitions: {what}",
            f"{1000 * parted:.2f} ms ({parted / plain:.0f} x)",
            f"{1000 * plain:.2f} ms in one table",
            "",
            None,
        )
        for what, plain, parted in zip(_WHAT, times["plain"], times["parted"], strict=True)
    ]
    return [*figures, Figure(f"deleting the {BATCH} oldest changes", f"{1000 * batch:.2f} ms", "", "", None)]


_WHAT = ("a feed with nothing new", "a page of 200 changes", "the timeline of a call", "deleting a call")


async def _create(connection: Any) -> None:
    await connection.execute(f"CREATE TABLE plain ({_COLUMNS}, PRIMARY KEY (account_id, seq))")
    await connection.execute(
        f"CREATE TABLE parted ({_COLUMNS}, PRIMARY KEY (account_id, seq, at)) PARTITION BY RANGE (at)"
    )
    for day in range(DAYS):
        begin, end = (f"'2026-01-01'::timestamptz + interval '{number} days'" for number in (day, day + 1))
        await connection.execute(
            f"CREATE TABLE parted_{day} PARTITION OF parted FOR VALUES FROM ({begin}) TO ({end})"
        )
    for table in ("plain", "parted"):
        await connection.execute(f"CREATE INDEX ON {table} (account_id, call_id, seq)")
        await connection.execute(f"INSERT INTO {table} {_FILL}")
    await connection.execute("VACUUM ANALYZE")


async def _measure_table(connection: Any, table: str, tries: int) -> Sequence[float]:
    """Return the median seconds of each of `_WHAT`."""
    last = DAYS * CHANGES_A_DAY - 1
    statements: Sequence[tuple[str, Any]] = (
        (_AFTER, last), (_AFTER, last // 2), (_OF_CALL, f"call_{last // 8}"), (_DELETE, None),
    )  # fmt: skip
    found = []
    for statement, argument in statements:
        prepared = await connection.prepare(statement.format(table=table))
        seconds = []
        for number in range(tries):
            account, call = str(number % ACCOUNTS + 1), f"call_{number // ACCOUNTS}"
            began = time.perf_counter()
            await prepared.fetch(account, call if argument is None else argument)
            seconds.append(time.perf_counter() - began)
        found.append(statistics.median(seconds))
    return found


async def _delete_oldest(connection: Any) -> float:
    seconds = []
    for number in range(ACCOUNTS):
        began = time.perf_counter()
        await connection.execute(
            "DELETE FROM plain WHERE account_id = $1 AND seq BETWEEN 1000 AND $2",
            str(number + 1), 999 + BATCH,
        )  # fmt: skip
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
