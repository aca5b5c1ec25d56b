"""What a page of a list costs with ten thousand calls and with a million: every order, every filter, the
first page and one from the middle, and pairs of filters, on both databases.

The two accounts are read in turn, so that both have the same machine.
"""

import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import asyncpg
from sqlalchemy import event

from app.calls import views
from app.calls.listing.filters import ListQuery
from app.calls.listing.query import list_calls
from app.db.engine import Database
from app.db.migrations import migrate
from app.values.exact_json import write_json
from bench.scale.figures import Figure
from bench.scale.folding import cluster
from tests.factories_calls import ACCOUNT
from tests.list_cases import PAGE, Case, all_cases
from tests.many_calls import make_calls

FEW, MANY, MANY_QUICKLY = 10_000, 1_000_000, 100_000
MOST_GROWTH = 2.0
MOST_STATEMENTS = 3
TURNS = 5
MORE_TURNS = 15
"""Of a page that was slow with many calls: both accounts are read again."""


@dataclass(frozen=True, slots=True)
class Growth:
    """The time of one page, in milliseconds, with few calls and with many."""

    case: Case
    few: float
    many: float

    @property
    def ratio(self) -> float:
        return self.many / self.few

    def __str__(self) -> str:
        names = ", ".join(self.case.filters) or "no filter"
        return f"{names} by {self.case.order}{', deep' if self.case.is_deep else ''}"


async def measure(quick: bool) -> list[Figure]:
    """Measure both databases."""
    many = MANY_QUICKLY if quick else MANY
    figures = []
    async with _postgresql(many) as (small, large):
        figures += await _figures("PostgreSQL", small, large, many)
    async with _sqlite(many) as (small, large):
        figures += await _figures("SQLite", small, large, many)
    return figures


@asynccontextmanager
async def _postgresql(many: int) -> AsyncIterator[tuple[Database, Database]]:
    with cluster() as server:
        connection = await asyncpg.connect(server.dsn())
        for name in ("few", "many"):
            await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        async with _filled(server.url("few"), FEW) as small, _filled(server.url("many"), many) as large:
            yield small, large


@asynccontextmanager
async def _sqlite(many: int) -> AsyncIterator[tuple[Database, Database]]:
    with tempfile.TemporaryDirectory(prefix="aftercall-lists-") as folder:
        urls = [f"sqlite+aiosqlite:///{Path(folder) / name}.db" for name in ("few", "many")]
        async with _filled(urls[0], FEW) as small, _filled(urls[1], many) as large:
            yield small, large


@asynccontextmanager
async def _filled(url: str, count: int) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        await migrate(database)
        await make_calls(database, count)
        yield database
    finally:
        await database.close()


async def _figures(name: str, small: Database, large: Database, many: int) -> list[Figure]:
    found = [
        await _growth(small, large, one, other)
        for one, other in zip(all_cases(FEW), all_cases(many), strict=True)
    ]
    singles = [one for one in found if len(one.case.filters) < 2]
    pairs = [one for one in found if len(one.case.filters) > 1]
    return [
        _growth_figure(f"lists on {name}, {FEW:,} -> {many:,} calls: each filter and order", singles),
        _growth_figure(f"lists on {name}, {FEW:,} -> {many:,} calls: two filters", pairs),
        await _page_figure(name, large),
    ]


def _growth_figure(measure: str, found: Sequence[Growth]) -> Figure:
    worst = max(found, key=lambda one: one.ratio)
    within = sum(one.ratio <= MOST_GROWTH for one in found)
    return Figure(
        measure,
        f"median x {median(one.ratio for one in found):.2f}, worst x {worst.ratio:.2f} ({worst})",
        f"{median(one.few for one in found):.1f} ms with few, {median(one.many for one in found):.1f} ms with"
        f" many; {within} of {len(found)} within the goal",
        f"x <= {MOST_GROWTH:.0f}",
        worst.ratio <= MOST_GROWTH,
    )


async def _growth(small: Database, large: Database, one: Case, other: Case) -> Growth:
    few, many = [], []
    turns = TURNS
    while turns:
        turns -= 1
        few.append(await _milliseconds(small, one))
        many.append(await _milliseconds(large, other))
        if len(few) == TURNS and min(many) > MOST_GROWTH * min(few):
            turns = MORE_TURNS
    # What else runs on the machine makes a page slower, never faster.
    return Growth(other, min(few), min(many))


async def _milliseconds(database: Database, case: Case) -> float:
    async with database.read() as db:
        query = await case.query(db)
        began = time.perf_counter()
        await list_calls(db, ACCOUNT, query)
        return 1000 * (time.perf_counter() - began)


async def _page_figure(name: str, database: Database) -> Figure:
    """Measure a whole page, from the key of its account to its JSON."""
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    query, seconds = ListQuery(limit=PAGE), []
    event.listen(database.engine.sync_engine, "before_cursor_execute", count)
    for _ in range(4 * TURNS):
        statements = 0
        began = time.perf_counter()
        async with database.read() as db:
            page = await list_calls(db, ACCOUNT, query)
            shown = await views.load_views(db, ACCOUNT, page.rows)
        body = write_json({"data": shown, "nextCursor": page.next_cursor})
        seconds.append(time.perf_counter() - began)
    event.remove(database.engine.sync_engine, "before_cursor_execute", count)
    began = time.perf_counter()
    for _ in range(TURNS):
        write_json(shown)
    written = (time.perf_counter() - began) / TURNS
    # SQLite's BEGIN is a statement of its own; on PostgreSQL the driver sends it.
    statements -= database.is_sqlite
    return Figure(
        f"a page of {PAGE} calls on {name}, without HTTP",
        f"{statements} statements, {1000 * min(seconds):.1f} ms for {len(body) / 1000:.0f} kB",
        f"{1000 * written:.1f} ms to write its JSON alone",
        f"<= {MOST_STATEMENTS} statements",
        statements <= MOST_STATEMENTS,
    )
