"""Looks for what conversation analysis says of recorded calls; once per call, since its event is the rule.

The product is optional: 403 where it was not bought or granted, 404 until a call was analysed, some half an
hour after its end (guide "Conversation insights"). So an account's first recorded call is asked for at once,
to find out; what is found out is remembered, and an account without the product is left in peace for hours.
Spends the Light bucket, nothing of Heavy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.accounts.connections import Connection
from app.accounts.context import AccountsContext, AccountsWorker
from app.accounts.selection import find_connections
from app.calls import recordings, store
from app.calls.insights.availability import Availability, load_availability, next_check_at, save_availability
from app.calls.insights.model import Version
from app.calls.insights.store import BY_READING, PART, InsightsArrival, take
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import NO_SESSION, Call
from app.db.tables import calls
from app.enrichment.records.apply import finish
from app.enrichment.records.set_aside import PASSING, UNSTORABLE, Shelf
from app.errors import (
    AccessReason,
    CredentialsRefused,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    RingCentralError,
)
from app.ids import AccountId, TelephonySessionId
from app.ringcentral.models import Insights
from app.work.failures import log_failure
from app.work.rounds import Agenda, Rounds

NOT_ANALYSED = "not-analysed"
NO_LICENCE = "no-licence"
NO_SCOPE = "no-scope"
SWITCHED_OFF = "off"
UNREACHABLE = "unreachable"
_REASONS = {"CMN-401": NO_SCOPE, "CMN-402": AccessReason.NO_PERMISSION, "CMN-408": AccessReason.NO_PERMISSION}
_MOST_AT_ONCE = 20
_LONGEST_TURN_SECONDS = 600.0
_MOST_CLOSED = 500
_LONGEST_LATE = 24
"""Looks that fail are given up after so many times the usual delay."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightsPlan:
    """When insights are looked for, in seconds. `after`: from the end of a call; None: not at all.

    `forget` is how long a refusal is remembered, `lease` how long one replica may take for one look.
    """

    after: float | None
    forget: float
    lease: float = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    items: Sequence[Insights]


@dataclass(frozen=True, slots=True)
class NotThere:
    """Asked and allowed to, but there is nothing (yet)."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Nobody who sees the call may read them. `refused`: the connections that were told so just now.

    `whole_account`: nobody else may either; licences are per user (guide "Conversation insights").
    """

    reason: str
    refused: Mapping[str, datetime]
    whole_account: bool = True


@dataclass(frozen=True, slots=True)
class Hopeless:
    """Nothing will come of this call; says nothing about others."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    at: datetime
    whole_account: bool = False


Answer = Found | NotThere | Closed | Hopeless | Later


class InsightsReader(AccountsWorker):
    """The background work that looks for insights."""

    def __init__(self, context: AccountsContext, plan: InsightsPlan) -> None:
        super().__init__(context)
        self._plan = plan
        self._shelf = Shelf(context.database, context.clock)
        self._rounds = Rounds(
            "insights",
            context,
            Agenda(find_accounts=_find_due_accounts, find_next=_find_next_due, serve=self._serve),
            most_at_once=_MOST_AT_ONCE,
            longest_seconds=_LONGEST_TURN_SECONDS,
        )

    async def step(self) -> float | None:
        """Look for what is due, a few of each account; say in how many seconds the next is."""
        return await self._rounds.step()

    async def close(self) -> None:
        """Stop the looks that are under way; they are due again."""
        await self._rounds.close()

    async def _serve(self, account_id: AccountId) -> bool:
        call, outlook = await self._claim(account_id)
        if call is None:
            return False
        answer = await self._look(account_id, call, outlook)
        metrics.INSIGHTS.labels(outcome=_OUTCOMES[type(answer)]).inc()
        try:
            await self._write(account_id, call.call_id, answer)
        except PASSING:
            raise
        except Exception as error:  # noqa: BLE001 - whatever these insights cause, other calls go on
            await self._set_aside(account_id, call.call_id, error)
        return True

    async def _set_aside(self, account_id: AccountId, call_id: str, error: Exception) -> None:
        """Give up insights that cannot be stored."""
        await self._shelf.note(account_id, "insights", call_id, error)
        try:
            await self._write(account_id, call_id, Hopeless(UNSTORABLE))
        except PASSING:
            raise
        except Exception:  # noqa: BLE001 - noted above
            await self._shelf.stop_insights(account_id, call_id)

    async def _claim(self, account_id: AccountId) -> tuple[Call | None, Availability]:
        """Take the call that has been due longest, so that no other replica does before the lease is over."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            query = (
                select(calls)
                .where(calls.c.account_id == account_id, calls.c.insights_at <= now)
                .order_by(calls.c.insights_at, calls.c.call_id)
                .limit(1)
            )
            row = (await db.execute(query)).first()
            if row is None:
                return None, Availability()
            call = store.read_row(row)
            call.insights_at = now + timedelta(seconds=self._plan.lease)
            ledger.keep(call)
            return call, await load_availability(db, account_id)

    async def _look(self, account_id: AccountId, call: Call, outlook: Availability) -> Answer:
        """Ask whoever sees the call, one after the other, until one is not refused.

        To a user who was not in it RingCentral may well say that there is nothing.
        """
        now = self._clock.now()
        if self._plan.after is None:
            return Hopeless(SWITCHED_OFF)
        async with self._database.read() as db:
            concerned = await recordings.extensions_of(db, account_id, [call.call_id])
        fitting = await find_connections(self._connections, account_id, concerned)
        usable = [one for one in fitting if one.access.problem is None]
        if not usable:
            return (
                self._again(call, self._plan.after, AccessReason.NO_CREDENTIALS)
                if fitting
                else Hopeless(AccessReason.NO_CREDENTIALS)
            )
        reason = outlook.reason or NO_LICENCE
        refused: dict[str, datetime] = {}
        for connection in usable:
            if outlook.is_refused(connection.name, now):
                continue
            answer = await self._ask(account_id, connection, call)
            if not isinstance(answer, Closed):
                return answer
            reason = answer.reason
            refused |= answer.refused
        return Closed(reason, refused, await self._is_closed_to_all(account_id, outlook, refused))

    async def _is_closed_to_all(
        self, account_id: AccountId, outlook: Availability, refused: Mapping[str, datetime]
    ) -> bool:
        now = self._clock.now()
        return all(
            one.name in refused or outlook.is_refused(one.name, now)
            for one in await self._connections.of(account_id)
            if one.access.problem is None
        )

    async def _ask(self, account_id: AccountId, connection: Connection, call: Call) -> Answer:
        now = self._clock.now()
        try:
            items = await self._fetch(account_id, connection, call)
        except RateLimited as error:
            return Later(error.retry_at, whole_account=True)
        except (PermissionMissing, RequestRefused) as error:
            log.info("insights are refused", name=connection.name, code=error.code, why=error.detail)
            if error.status not in (None, 403):
                return Hopeless(error.code or f"refused-{error.status}")
            until = now + timedelta(seconds=self._plan.forget)
            return Closed(_REASONS.get(error.code or "", NO_LICENCE), {connection.name: until})
        except RingCentralError as error:
            log_failure(log, "looking for insights failed", error)
            after = self._plan.after or 0.0
            return self._again(call, after if isinstance(error, CredentialsRefused) else after / 12)
        return Found(items) if items else NotThere()

    async def _fetch(self, account_id: AccountId, connection: Connection, call: Call) -> Sequence[Insights]:
        # No waiting for the budget here: another account may be served meanwhile.
        client, now = connection.client, self._clock.now()
        if not call.telephony_session_id.startswith(NO_SESSION):
            session_id = TelephonySessionId(call.telephony_session_id)
            return await client.fetch_session_insights(session_id, deadline=now) or ()
        async with self._database.read() as db:
            known = (await recordings.load_of_calls(db, account_id, [call.call_id]))[call.call_id]
        found = [await client.fetch_record_insights(one, deadline=now) for one in sorted(known)]
        return [item for item in found if item is not None]

    def _again(self, call: Call, pause: float, reason: str = UNREACHABLE) -> Answer:
        """Try again after a pause, but not for ever; `reason` is why it is given up then."""
        now = self._clock.now()
        if now > next_check_at(call, _LONGEST_LATE * (self._plan.after or 0.0)):
            return Hopeless(reason)
        return Later(now + timedelta(seconds=pause))

    async def _write(self, account_id: AccountId, call_id: str, answer: Answer) -> None:
        """Bring what was answered to the call, and remember what it says of the account."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            call = (await store.load_by_ids(db, account_id, [call_id])).get(call_id)
            if call is None:
                return
            outlook = await load_availability(db, account_id)
            await self._apply(ledger, call, answer)
            learnt = learn(outlook, answer, now)
            if learnt != outlook:
                await save_availability(db, account_id, learnt)
        if isinstance(answer, Later) and answer.whole_account:
            self._rounds.hold_back(account_id, answer.at)

    async def _apply(self, ledger: Ledger, call: Call, answer: Answer) -> None:
        due_at = next_check_at(call, self._plan.after or 0.0)
        match answer:
            case Found(items=items):
                call.insights_at = None
                ledger.keep(call)
                arrivals = [_arrival(item, ledger.now) for item in items]
                told = await take(ledger, arrivals, {call.call_id: call})
                for one in {one.call_id: one for one in (call, *told)}.values():
                    finish(ledger, one)
            case NotThere() if ledger.now < due_at:
                call.insights_at = due_at
                ledger.keep(call)
            case NotThere():
                give_up(ledger, call, NOT_ANALYSED)
            case Later(at=at):
                call.insights_at = at
                ledger.keep(call)
            case Hopeless(reason=reason):
                give_up(ledger, call, reason)
            case Closed(reason=reason, whole_account=False):
                give_up(ledger, call, reason)
            case Closed(reason=reason):
                for one in (call, *await _others_pending(ledger, call)):
                    give_up(ledger, one, reason)


def learn(outlook: Availability, answer: Answer, now: datetime) -> Availability:
    """Return what is known of the account after an answer. A failure teaches nothing."""
    match answer:
        case Found() | NotThere():
            return outlook if outlook.answered else outlook.opened()
        case Closed(reason=reason, refused=refused, whole_account=is_closed):
            for name, until in refused.items():
                outlook = outlook.turned_away(name, until)
            if not is_closed:
                return outlook
            still = [until for until in outlook.refused.values() if until > now]
            return outlook.closed(reason, min(still)) if still else outlook
        case _:
            return outlook


def give_up(ledger: Ledger, call: Call, reason: str) -> None:
    """Say that no insights will come, unless they have; their event may still bring some."""
    call.insights_at = None
    ledger.keep(call)
    if call.awaits(PART):
        call.ready(PART, "none", ledger.now, reason)
        ledger.change(call, "call.updated", source=BY_READING, reason=reason)
    finish(ledger, call)


async def _find_due_accounts(db: AsyncConnection, now: datetime) -> list[AccountId]:
    query = select(calls.c.account_id).where(calls.c.insights_at <= now).distinct()
    return [AccountId(account_id) for account_id in await db.scalars(query)]


async def _find_next_due(db: AsyncConnection, now: datetime) -> datetime | None:
    due_at: datetime | None = await db.scalar(
        select(func.min(calls.c.insights_at)).where(calls.c.insights_at > now)
    )
    return due_at


async def _others_pending(ledger: Ledger, call: Call) -> list[Call]:
    query = (
        select(calls)
        .where(
            calls.c.account_id == ledger.account_id,
            calls.c.insights_at.is_not(None),
            calls.c.call_id != call.call_id,
        )
        .order_by(calls.c.insights_at)
        .limit(_MOST_CLOSED)
    )
    return [store.read_row(row) for row in await ledger.db.execute(query)]


def _arrival(item: Insights, at: datetime) -> InsightsArrival:
    version = Version(
        telephony_session_id=item.session_id,
        recording_id=item.recording_id,
        last_modified_at=item.last_modified_time,
        raw=item.raw,
    )
    return InsightsArrival(version, BY_READING, at)


_OUTCOMES: Mapping[type, str] = {
    Found: "found",
    NotThere: "not-there",
    Closed: "refused",
    Hopeless: "given-up",
    Later: "failed",
}
