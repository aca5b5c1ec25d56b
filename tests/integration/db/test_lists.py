"""IN lists of any length, on both databases."""

import ast
from pathlib import Path

from sqlalchemy import select, text

import app
from app.db.engine import Database
from app.db.lists import is_one_of
from app.db.tables import accounts, subscriptions
from tests.fakes.clock import FakeClock

MANY = 40_000
"""More than either database takes as parameters of one statement."""

BOUNDED = {
    # Accounts that a key or a credential may see, constants of ours, sub-selects, what a page or a screen
    # holds.
    "app/calls/attachments/idempotency.py": 1,
    "app/calls/feed/changes.py": 1,  # a batch of numbers, which are no texts
    "app/calls/listing/crm.py": 2,
    "app/calls/listing/normal_numbers.py": 1,  # a batch
    "app/calls/listing/conditions.py": 1,  # outcomes and stages
    "app/calls/listing/query.py": 1,  # a subquery
    "app/calls/main_calls/members.py": 1,  # a subquery
    "app/calls/media/rows.py": 1,
    "app/accounts/directory/store.py": 1,
    "app/extensions_api/listing.py": 1,
    "app/calls/store.py": 3,
    "app/accounts/credentials.py": 1,
    "app/enrichment/gaps.py": 4,
    "app/call_log_api/response_cache.py": 1,
    "app/ops/dashboard/board.py": 6,
    "app/ops/figures/completeness.py": 7,
    "app/ops/account_scope.py": 1,
    "app/ops/figures/call_figures.py": 3,
    "app/ops/figures/summary.py": 1,
    "app/ops/figures/intake.py": 1,
    "app/ops/prometheus/gauge_queries.py": 2,
    "app/webhooks/subscriptions/heartbeat.py": 1,  # the most that the endpoint remembers
    "app/calls/removal/remove.py": 2,
    "app/erasure/selection.py": 2,
    "app/erasure/store.py": 1,
    "app/retention/batches.py": 1,
    "app/retention/records.py": 1,
}


async def test_a_list_longer_than_the_parameters_of_a_statement_is_one_parameter(
    database: Database, clock: FakeClock
) -> None:
    odd = ["908070001", "it's", "a,b", '"', "\\", "{}", "é\U0001f600", ""]
    async with database.write() as db:
        await db.execute(
            accounts.insert(), [{"account_id": name, "created_at": clock.now()} for name in [*odd, "other"]]
        )
        names = [*odd, *(str(number) for number in range(MANY))]
        query = select(accounts.c.account_id).where(is_one_of(accounts.c.account_id, names))
        assert set(await db.scalars(query)) == set(odd)
        nobody = select(accounts.c.account_id).where(is_one_of(accounts.c.account_id, ()))
        assert list(await db.scalars(nobody)) == []
        others = select(accounts.c.account_id).where(~is_one_of(accounts.c.account_id, odd))
        assert list(await db.scalars(others)) == ["other"]


async def test_a_list_uses_the_index(database: Database) -> None:
    key = subscriptions.c.subscription_id
    query = select(subscriptions.c.address).where(
        subscriptions.c.account_id == "1", is_one_of(key, ["a", "b"])
    )
    compiled = query.compile(database.engine.sync_engine, compile_kwargs={"render_postcompile": True})
    async with database.write() as db:
        if database.is_sqlite:
            plan = await db.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", ("1", '["a", "b"]'))
            assert "account_id=? AND subscription_id=?" in str(plan.all())
        else:
            rows = (
                "INSERT INTO subscriptions (account_id, subscription_id, address, filters, status, "
                "checked_at)"
                " SELECT '1', n::text, '', '[]', '', now() FROM generate_series(1, 5000) AS n"
            )
            await db.execute(text(rows))
            await db.execute(text("ANALYZE subscriptions"))
            plan = await db.exec_driver_sql(f"EXPLAIN {compiled}", ("1", ["a", "b"]))
            assert "subscription_id" in next(line for (line,) in plan if "Index Cond" in line)


def test_no_unbounded_list_is_an_in_list() -> None:
    """`in_` makes one parameter per value. Use `is_one_of`, or add the bounded list above."""
    root = Path(app.__file__ or "").parent
    found: dict[str, int] = {}
    for path in sorted(root.rglob("*.py")):
        if "simulator" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("in_", "not_in"):
                name = str(path.relative_to(root.parent))
                found[name] = found.get(name, 0) + 1
    assert {name: count for name, count in found.items() if count > BOUNDED.get(name, 0)} == {}
