"""Reads a range of the Call Log on demand: `aftercall backfill`. Resumes where it was interrupted."""

import secrets
from collections.abc import Callable
from datetime import datetime

from app.accounts.connections import Connections
from app.accounts.context import AccountsContext
from app.calls import accounts
from app.clock import Clock
from app.db.engine import Database
from app.enrichment.gaps import Sweep
from app.enrichment.records.plan import CallLogPlan
from app.enrichment.sweeps import rows as sweep_rows
from app.enrichment.sweeps.state import SweepRules
from app.enrichment.sweeps.sweeper import Sweeper
from app.errors import SettingsError
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.work.backoff import Backoff

_BACKOFF = Backoff(first=2.0, longest=60.0)
"""Before the next try when the budget, another run of the same backfill or RingCentral delays this one."""


class Stuck(SettingsError):
    """A person has to act before a backfill can go on."""


async def backfill(
    database: Database,
    clock: Clock,
    connections: Connections,
    plan: CallLogPlan,
    rules: SweepRules,
    account_id: AccountId,
    from_at: datetime,
    to_at: datetime | None,
    *,
    report: Callable[[Sweep], None],
) -> Sweep:
    """Look up the calls that started at or after `from_at` and before `to_at` (None: now); return the
    finished row.

    An unfinished backfill of the same range continues from its cursor. Requests go through the shared budget,
    after the polls of a service that runs meanwhile. `report` is called after each slice.

    Raises SettingsError for an impossible range or account, Stuck when credentials or permissions are
    missing.
    """
    now = clock.now()
    if from_at >= min(now, to_at or now):
        raise SettingsError("the range must begin before it ends, and in the past")
    holder = await _holder(database, account_id)
    if not await connections.of(holder):
        raise SettingsError(f"there are no credentials for account {account_id}; `aftercall check` says more")
    async with database.write() as db:
        sweep = await sweep_rows.open_backfill(db, holder, from_at, to_at, now)
    replica = f"backfill-{secrets.token_hex(6)}"
    context = AccountsContext(database=database, clock=clock, replica=replica, connections=connections)
    sweeper = Sweeper(context, plan, rules)
    try:
        return await _run(database, clock, sweeper, sweep, report)
    finally:
        async with database.write() as db:
            await sweep_rows.lease_of(sweep, replica).drop(db)


async def _holder(database: Database, account_id: AccountId) -> AccountId:
    """Return the one id under which the account's rows are stored, so that both of its ids resume the same
    run."""
    async with database.read() as db:
        return UNBOUND_ACCOUNT if await accounts.has_own_credentials(db, account_id) else account_id


async def _run(
    database: Database, clock: Clock, sweeper: Sweeper, sweep: Sweep, report: Callable[[Sweep], None]
) -> Sweep:
    tries = 0
    while sweep.done_at is None:
        before = sweep.cursor_at
        await sweeper.advance(sweep)
        async with database.read() as db:
            sweep = await sweep_rows.load(db, sweep.account_id, sweep.sweep_id)
        report(sweep)
        if sweep.done_at is not None or sweep.cursor_at != before:
            tries = 0
            continue
        # Another run holds it, or one that was killed did: the stored problem may be outdated.
        is_held = sweep.lease_owner is not None
        tries = 0 if is_held else tries + 1
        # The first refusal may concern the whole account only: then each user's own calls are read.
        if sweep.problem is not None and tries > 1:
            raise Stuck(str(sweep.problem.get("detail")))
        await clock.sleep(_BACKOFF.pause(tries))
    return sweep
