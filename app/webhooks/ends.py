"""Looks again at calls that seemed over, once it has been quiet for long enough; and at calls gone silent."""

from datetime import datetime, timedelta

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.ledger import open_ledger
from app.calls.model import Call, Stage
from app.clock import Clock
from app.db.engine import Database
from app.db.tables import calls
from app.enrichment.connections import Connections
from app.ids import AccountId
from app.webhooks.facts import SessionFacts
from app.webhooks.fold import EndRules, judge
from app.webhooks.live_calls import LiveCalls
from app.webhooks.parties import read_parties
from app.work.lanes import Lanes
from app.work.wakeups import ENDS

BATCH = 200

_LOOK_AGAIN_SECONDS = 900.0


class EndWatch:
    """The background work that ends calls. `replica` names this process among all."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        rules: EndRules,
        connections: Connections,
        *,
        replica: str,
        lease_seconds: float,
        patience_seconds: float | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules
        self._live = LiveCalls(
            database, clock, rules, connections, replica=replica, lease_seconds=lease_seconds
        )
        self._lanes: Lanes[str] = Lanes(
            "ends",
            wake=lambda: database.wake((ENDS,)),
            longest_seconds=_LOOK_AGAIN_SECONDS,
            patience_seconds=patience_seconds,
        )

    async def step(self) -> float | None:
        """Judge the calls that are due; say in how many seconds the next one is.

        Looking calls up at RingCentral may take long; that goes on beside the ends of all others.
        """
        async with self._database.read() as db:
            account_ids = await _due_accounts(db, self._clock.now())
        for account_id in account_ids:
            await self._judge_due(account_id)
        pause = await self._lanes.run(await self._live.find_work())
        await self._live.mark_settled()
        async with self._database.read() as db:
            due_at = await db.scalar(
                select(func.min(calls.c.end_check_at)).where(calls.c.end_check_at.is_not(None))
            )
        pauses = [] if pause is None else [pause]
        if due_at is not None:
            pauses.append(max(0.0, (due_at - self._clock.now()).total_seconds()))
        return min(pauses, default=None)

    async def close(self) -> None:
        """Stop the looks that are under way; the calls are looked up again later."""
        await self._lanes.close()

    async def _judge_due(self, account_id: AccountId) -> None:
        """Judge calls again; those that have been silent for hours are asked after."""
        async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
            for call in await _due_calls(db, account_id, ledger.now):
                view = read_parties(SessionFacts.from_json(call.facts))
                judge(ledger, call, view, self._rules)
                if call.end_check_at is not None and call.end_check_at <= ledger.now:
                    call.end_check_at = ledger.now + timedelta(seconds=_LOOK_AGAIN_SECONDS)
                    if call.stage == Stage.LIVE and call.ask_at is None:
                        call.ask_at = ledger.now
                ledger.keep(call)


async def _due_accounts(db: AsyncConnection, now: datetime) -> list[AccountId]:
    due = and_(calls.c.end_check_at.is_not(None), calls.c.end_check_at <= now)
    query = select(calls.c.account_id).where(due).group_by(calls.c.account_id)
    return [AccountId(account_id) for account_id in await db.scalars(query)]


async def _due_calls(db: AsyncConnection, account_id: AccountId, now: datetime) -> list[Call]:
    query = (
        select(calls)
        .where(calls.c.account_id == account_id, calls.c.end_check_at <= now)
        .order_by(calls.c.end_check_at)
        .limit(BATCH)
    )
    return [store.read_row(row) for row in await db.execute(query)]
