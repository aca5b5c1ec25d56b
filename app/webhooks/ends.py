"""Looks again at calls that seemed over, once it has been quiet for long enough; and at calls gone silent."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts, store
from app.calls.ledger import open_ledger
from app.calls.model import Call, Stage
from app.clock import Clock
from app.db.engine import Database
from app.db.tables import calls
from app.enrichment import gaps
from app.enrichment.connections import Connections
from app.enrichment.gaps import Sweep
from app.errors import RingCentralError
from app.ids import AccountId, TelephonySessionId
from app.webhooks.facts import SessionFacts
from app.webhooks.fold import EndRules, end, judge
from app.webhooks.parties import read_parties
from app.work.lanes import Lanes, Serve
from app.work.wakeups import ENDS

BATCH = 200
MOST_ASKED = 500
"""Calls that are asked after when a gap ends, latest first; the rest waits until it is stale."""

_STALE_LOOKS = 5
_STALE_PAUSE_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 900.0

log = structlog.get_logger(__name__)


class EndWatch:
    """The background work that ends calls."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        rules: EndRules,
        connections: Connections,
        *,
        patience_seconds: float | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules
        self._connections = connections
        self._ask_again_at = clock.now()
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
        looks: dict[str, Serve] = {"gaps": self._ask_after_gaps}
        for account_id in account_ids:
            stale = await self._judge_due(account_id)
            if stale:
                looks[account_id] = partial(self._ask_for, account_id, stale)
        await self._lanes.run(looks)
        async with self._database.read() as db:
            due_at = await db.scalar(
                select(func.min(calls.c.end_check_at)).where(calls.c.end_check_at.is_not(None))
            )
        return None if due_at is None else max(0.0, (due_at - self._clock.now()).total_seconds())

    async def close(self) -> None:
        """Stop the looks that are under way; the calls are looked up again later."""
        await self._lanes.close()

    async def _judge_due(self, account_id: AccountId) -> list[Call]:
        """Judge calls again; return those that have been silent for so long that RingCentral has to be asked."""
        stale: list[Call] = []
        async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
            for call in await _due_calls(db, account_id, ledger.now):
                view = read_parties(SessionFacts.from_json(call.facts))
                judge(ledger, call, view, self._rules)
                if call.end_check_at is not None and call.end_check_at <= ledger.now:
                    # Those that are asked for wait for their next turn; the others stay due and come first then.
                    turn = len(stale) < _STALE_LOOKS
                    stale += [call] if turn else []
                    pause = _LOOK_AGAIN_SECONDS if turn else _STALE_PAUSE_SECONDS
                    call.end_check_at = ledger.now + timedelta(seconds=pause)
                ledger.keep(call)
        return stale

    async def _ask_for(self, account_id: AccountId, stale: Sequence[Call]) -> None:
        """Ask whether silent calls still go on: a session that RingCentral does not know any more is over."""
        connection = await self._connections.best(account_id)
        # Who sees one extension alone is told of all others that there are none.
        if connection is None or not connection.is_company_wide:
            return
        for call in stale:
            try:
                session = await connection.client.fetch_session(TelephonySessionId(call.telephony_session_id))
            except RingCentralError as error:
                log.warning("a silent call could not be looked up", call_id=call.call_id, why=error.detail)
                return
            if session is None:
                await self._end_unheard(account_id, call)

    async def _ask_after_gaps(self) -> None:
        """Ask after the calls that seem to go on since before a gap ended: their last events may be lost."""
        now = self._clock.now()
        if now < self._ask_again_at:
            return
        async with self._database.read() as db:
            unasked = await gaps.find_unasked(db)
        failed: set[AccountId] = set()
        for gap in unasked:
            if gap.account_id in failed:
                continue
            try:
                await self._ask_after(gap)
            except RingCentralError as error:
                log.warning("calls of a gap could not be asked after", why=error.detail)
                self._ask_again_at = now + timedelta(seconds=self._rules.window / 4)
                failed.add(gap.account_id)
                continue
            async with self._database.write() as db:
                await gaps.mark_asked(db, gap, self._clock.now())

    async def _ask_after(self, gap: Sweep) -> None:
        """End the calls of that time that RingCentral does not know any more.

        Who sees one extension alone is told of all others that there are none: their calls wait until they are
        stale, or a record shows up.
        """
        async with self._database.read() as db:
            account_id = await accounts.resolve(db, gap.account_id)
            going = await _going_calls(db, account_id, gap.to_at or self._clock.now())
        connection = await self._connections.best(account_id) if going else None
        if connection is None or not connection.is_company_wide:
            return
        for call in going:
            session = await connection.client.fetch_session(TelephonySessionId(call.telephony_session_id))
            if session is None:
                await self._end_unheard(account_id, call)

    async def _end_unheard(self, account_id: AccountId, asked: Call) -> None:
        async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
            call = (await store.load_by_ids(db, account_id, [asked.call_id])).get(asked.call_id)
            if call is None or call.stage != Stage.LIVE or call.version != asked.version:
                return
            view = read_parties(SessionFacts.from_json(call.facts))
            call.end_check_at = None
            end(
                ledger,
                call,
                view,
                view.last_terminal_at or view.heard_at or ledger.now,
                "session-gone",
                self._rules,
            )


async def _due_accounts(db: AsyncConnection, now: datetime) -> list[AccountId]:
    due = and_(calls.c.end_check_at.is_not(None), calls.c.end_check_at <= now)
    query = select(calls.c.account_id).where(due).group_by(calls.c.account_id)
    return [AccountId(account_id) for account_id in await db.scalars(query)]


async def _going_calls(db: AsyncConnection, account_id: AccountId, before: datetime) -> list[Call]:
    query = (
        select(calls)
        .where(calls.c.account_id == account_id, calls.c.stage == Stage.LIVE, calls.c.started_at < before)
        .order_by(calls.c.started_at.desc())
        .limit(MOST_ASKED)
    )
    return [store.read_row(row) for row in await db.execute(query)]


async def _due_calls(db: AsyncConnection, account_id: AccountId, now: datetime) -> list[Call]:
    query = (
        select(calls)
        .where(calls.c.account_id == account_id, calls.c.end_check_at <= now)
        .order_by(calls.c.end_check_at)
        .limit(BATCH)
    )
    return [store.read_row(row) for row in await db.execute(query)]
