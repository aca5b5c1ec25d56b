"""Polls Active Calls: one poll of an account for all its sessions that wait, when the planner says.

The order of one turn, and nothing decided here: claim the target, plan, ask page by page, match, write what was
found together with what was learnt, give the target back. No transaction is open while RingCentral thinks.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.accounts.connections import Connection, serving
from app.accounts.context import AccountsContext, AccountsWorker
from app.calls import store
from app.calls.ledger import open_ledger
from app.calls.model import Source, Stage
from app.calls.store import Recent
from app.db.tables import calls
from app.enrichment.call_log.ingest import batches
from app.enrichment.polling import targets, visibility
from app.enrichment.polling.planner import (
    PlannerBudget,
    PlannerLimits,
    PollAt,
    Rest,
    Rhythm,
    Waiting,
    begin_rhythm,
    hear,
    plan_poll,
)
from app.enrichment.polling.targets import Target
from app.enrichment.polling.visibility import Observation, Visibility
from app.enrichment.records.apply import (
    CallLogPlan,
    apply_records,
    keys_of_call,
    open_unknown_call,
    store_versions,
)
from app.enrichment.records.matching import CallKeys, Matching, answers, match_records
from app.enrichment.records.set_aside import Shelf, write_apart
from app.errors import (
    AccessReason,
    CredentialsRefused,
    LeaseLost,
    PermissionMissing,
    RateLimited,
    RingCentralError,
)
from app.ids import AccountId, RecordId
from app.rate_limits import bucket as budget
from app.rate_limits.shared_buckets import SharedRates
from app.ringcentral.models import CallRecord
from app.ringcentral.protocol.paging import wants_next_page
from app.ringcentral.wire import HEAVY
from app.work.failures import log_failure
from app.work.holds import Holds
from app.work.lanes import Lanes, Serve
from app.work.leases import renewing
from app.work.wakeups import POLLS

MOST_PAGES = 50
_LONGEST_TURN_SECONDS = 120.0
_START_TOLERANCE_SECONDS = 5.0
_WRONG_ACCOUNT_AGAIN = timedelta(minutes=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll brought. `complete`: all pages were read, so what is not there is not visible yet.

    `pages` is how many it took, or would have taken at least. `failure`: why there was no further page; what the
    pages before it have is as good as ever.
    """

    sent_at: datetime
    answered_at: datetime
    records: Sequence[CallRecord]
    complete: bool
    pages: int
    account_id: AccountId | None
    failure: RingCentralError | None = None


@dataclass(frozen=True, slots=True)
class _Item:
    """What was found of one call: a known one by its id, or one that nobody told of, by its key."""

    call_id: str | None
    key: str
    records: Sequence[CallRecord]


class Poller(AccountsWorker):
    """The background work that polls."""

    def __init__(self, context: AccountsContext, limits: PlannerLimits, readings: CallLogPlan) -> None:
        super().__init__(context)
        self._limits = limits
        self._readings = readings
        self._shelf = Shelf(context.database, context.clock)
        self._lease_seconds = context.lease_seconds
        self._holds: Holds[tuple[AccountId, str]] = Holds(context.clock)
        # A moment of the window: what a call can spare when something goes wrong.
        self._pause = limits.window_seconds / 60
        self._lanes: Lanes[tuple[AccountId, str]] = context.lanes(
            "polls", POLLS, longest_seconds=_LONGEST_TURN_SECONDS
        )

    async def step(self) -> float | None:
        """Take one turn for each target with calls that wait; say in how many seconds the next poll is planned.

        A target that takes longer than our patience goes on beside the others, and wakes the loop when it is done.
        """
        async with self._database.read() as db:
            account_ids = await _waiting_accounts(db, self._clock.now())
        work: dict[tuple[AccountId, str], Serve] = {}
        for account_id in account_ids:
            # All extensions at once, where somebody may see them; else each user's own, out of his own bucket.
            for connection in serving(await self._connections.of(account_id)):
                # Two ways in to one extension show the same calls: one target, one turn.
                work.setdefault(
                    (account_id, _target_of(connection)), partial(self._turn, account_id, connection)
                )
        return await self._lanes.run(work)

    async def close(self) -> None:
        """Stop the turns that are under way; their leases run out."""
        await self._lanes.close()

    async def _turn(self, account_id: AccountId, connection: Connection) -> float | None:
        name, now = _target_of(connection), self._clock.now()
        if (account_id, name) in self._holds:
            return self._holds.remaining((account_id, name))
        async with self._database.write() as db:
            recent = await store.find_recent(db, account_id, now, connection.extension_id)
            if not any(call.is_waiting for call in recent):
                return None
            target = await targets.claim(db, account_id, name, self._replica, now, self._lease_seconds)
        if target is None:
            return self._pause
        try:
            return await self._plan_and_poll(target, connection, recent)
        except LeaseLost:
            log.warning(
                "a poll took longer than its lease; another replica has taken over", account_id=account_id
            )
            return 0.0

    async def _plan_and_poll(
        self, target: Target, connection: Connection, recent: Sequence[Recent]
    ) -> float | None:
        now = self._clock.now()
        memory = _Memory.read(target, self._limits, now)
        memory.listen(recent, now)
        waiting = [call for call in recent if call.is_waiting]
        plan = await self._plan(connection.rates, waiting, memory, now)
        if isinstance(plan, Rest):
            await self._release(target, memory)
            return None
        if plan.when > now:
            await self._release(target, memory)
            return (plan.when - now).total_seconds()
        try:
            async with renewing(self._database, self._clock, target.lease):
                polled = await self._poll(target, connection, recent)
        except RingCentralError as error:
            pause = await self._excuse(target, connection, error)
            await self._release(target, memory)
            return pause
        await self._write(target, connection, memory, recent, polled)
        return 0.0 if polled.failure is None else await self._excuse(target, connection, polled.failure)

    async def _plan(
        self, rates: SharedRates, waiting: Sequence[Recent], memory: "_Memory", now: datetime
    ) -> PollAt | Rest:
        limits = rates.limits_of(HEAVY)
        state = await rates.peek(HEAVY)
        bucket = PlannerBudget(budget.poll_times(state, now, limits), budget.cycle_seconds(state, limits))
        sought = [Waiting(call.ended_at, call.last_missed_at) for call in waiting]
        plan = plan_poll(
            sought, bucket, memory.visibility, memory.rhythm, now, self._limits, pages=memory.pages
        )
        log.debug("planned", waiting=len(waiting), plan=str(plan))
        return plan

    async def _poll(self, target: Target, connection: Connection, recent: Sequence[Recent]) -> Polled:
        """Read pages until every waiting session is found, and not one more; another account's calls are left out.

        Raises RingCentralError when there was no page at all.
        """
        missing = {call.call_id for call in recent if call.is_waiting}
        sought = [keys_of_call(call) for call in recent]
        records: list[CallRecord] = []
        seen: set[RecordId] = set()
        deadline = self._clock.now() + timedelta(seconds=self._lease_seconds / 2)
        sent_at = self._clock.now()
        answered_at = sent_at
        account_id: AccountId | None = None
        for number in range(1, MOST_PAGES + 1):
            try:
                page = await connection.client.fetch_active_calls_page(
                    number, self._readings.page_size, extension_id=connection.extension_id, deadline=deadline
                )
            except RingCentralError as error:
                if number == 1:
                    raise
                return Polled(sent_at, answered_at, records, False, number, account_id, failure=error)
            answered_at = self._clock.now()
            sent_at = page.sent_at if number == 1 else sent_at
            account_id = account_id or page.account_id
            if account_id not in (None, target.account_id):
                return Polled(sent_at, answered_at, [], False, number, account_id)
            goes_on = wants_next_page(number, page, seen)
            records += [record for record in page.records if record.id not in seen]
            seen |= {record.id for record in page.records}
            missing -= self._answered(_match(records, sought), recent, sent_at).keys()
            if not goes_on or not missing:
                return Polled(sent_at, answered_at, records, not goes_on, number, account_id)
        return Polled(sent_at, answered_at, records, False, MOST_PAGES, account_id)

    async def _write(
        self,
        target: Target,
        connection: Connection,
        memory: "_Memory",
        recent: Sequence[Recent],
        polled: Polled,
    ) -> None:
        matching = _match(polled.records, [keys_of_call(call) for call in recent])
        found = self._answered(matching, recent, polled.sent_at)
        waiting = {call.call_id: call for call in recent if call.is_waiting}
        fresh = {call.call_id for call in recent if call.is_waiting or self._may_grow(call, polled.sent_at)}
        missed = [call_id for call_id in waiting if call_id not in found] if polled.complete else []
        seen = [_look(waiting[call_id], polled) for call_id in found if call_id in waiting]
        vain = [_vain_look(waiting[call_id], polled, self._limits) for call_id in missed]
        memory.learn([look for look in (*seen, *vain) if look is not None])
        memory.pages = polled.pages if polled.failure is None else max(memory.pages, polled.pages)
        got = await self._take(target, matching, found, fresh, polled.sent_at)
        async with self._database.write() as db:
            await store.mark_missed(db, target.account_id, missed, polled.sent_at)
            await target.lease.release(db, last_poll_at=polled.sent_at, **memory.changes())
        wrong = _wrong_account(target, polled)
        await self._connections.note_account(connection, wrong)
        if wrong is not None:
            # It shows nobody that waits, so no poll would count as a look and the next come at once.
            self._holds.hold((target.account_id, target.target), self._clock.now() + _WRONG_ACCOUNT_AGAIN)
        if polled.failure is None:
            await self._connections.note(connection, None)
            metrics.POLLS.labels(outcome="found" if got else "nothing-new").inc()
        tell = log.info if got else log.debug
        tell("polled", found=got, missed=len(missed), pages=polled.pages, records=len(polled.records))

    async def _take(
        self,
        target: Target,
        matching: Matching,
        found: Mapping[str, list[CallRecord]],
        fresh: Collection[str],
        sent_at: datetime,
    ) -> int:
        """Write what was found of known calls and open those that nobody told of; return how many got their first
        record. A call whose records cannot be stored is set aside alone, and not polled for again."""

        async def write(some: Sequence[_Item]) -> int:
            async with self._database.write() as db:
                taken = await self._take_some(db, target.account_id, some, sent_at)
                # Without the target write nothing: another replica has asked since.
                await target.lease.confirm(db)
                return taken

        async def set_aside(item: _Item, error: Exception) -> None:
            await self._shelf.note(
                target.account_id, Source.ACTIVE_CALLS.value, item.call_id or item.key, error
            )
            if item.call_id:
                await self._shelf.close_window(target.account_id, item.call_id)

        strangers = self._ended_strangers(matching)
        items = [_Item(key, key, found[key]) for key in found if key in fresh]
        items += [_Item(None, key, records) for key, records in strangers.items()]
        counts = [count for some in batches(items) for count in await write_apart(some, write, set_aside)]
        return sum(counts)

    async def _take_some(
        self, db: AsyncConnection, account_id: AccountId, items: Sequence["_Item"], sent_at: datetime
    ) -> int:
        async with open_ledger(db, account_id, self._clock.now()) as ledger:
            found = {item.call_id: item.records for item in items if item.call_id is not None}
            loaded = await store.load_by_ids(db, account_id, found)
            # One revived while RingCentral thought goes on: what it told is provisional.
            going = {key: found[key] for key, call in loaded.items() if call.stage == Stage.LIVE}
            wanted = {key: found[key] for key in loaded if key not in going}
            strangers = {item.key: item.records for item in items if item.call_id is None}
            known = await store.load_by_sessions(db, account_id, strangers)
            for key, records in strangers.items():
                call = known.get(key)
                if call is None:
                    stranger = open_unknown_call(ledger, key, records, Source.ACTIVE_CALLS)
                    loaded[stranger.call_id], wanted[stranger.call_id] = stranger, records
                elif call.stage == Stage.LIVE:
                    # Events say that it goes on: its finished record raises the question whether it does.
                    loaded[call.call_id], going[call.call_id] = call, records
            await ledger.flush()
            await store_versions(ledger, loaded, going, Source.ACTIVE_CALLS, sent_at)
            return len(
                await apply_records(ledger, loaded, wanted, Source.ACTIVE_CALLS, sent_at, self._readings)
            )

    def _answered(
        self, matching: Matching, recent: Sequence[Recent], now: datetime
    ) -> dict[str, list[CallRecord]]:
        """Return, by call id, the records that say how a call went, of the calls whose story is told.

        A queue's call has a record for each member that rang. Those of the members who did not take it are final
        when another one answers, and the winner's turns over seconds after the hang-up: until then, "Missed"
        would be half the truth. A record that stays in progress for longer than Active Calls usually lags behind
        holds nothing back.
        """
        patience = timedelta(seconds=2 * self._limits.lag_max_seconds)
        waiting = {call.call_id for call in recent if call.is_waiting and now - call.ended_at <= patience}
        finals = {call_id: (records, answers(records)) for call_id, records in matching.found.items()}
        return {
            call_id: final
            for call_id, (records, final) in finals.items()
            if final and (len(final) == len(records) or call_id not in waiting)
        }

    def _may_grow(self, call: Recent, now: datetime) -> bool:
        """Whether further records of a call just found may still turn up: one per extension, not all at once."""
        grace = timedelta(seconds=self._limits.lag_max_seconds)
        return call.bootstrapped_at is not None and now - call.bootstrapped_at < grace

    def _ended_strangers(self, matching: Matching) -> dict[str, list[CallRecord]]:
        """Pick the ended voice calls that no event has told us of, as far as matching knows."""
        return {
            key: records
            for key, records in matching.strangers.items()
            if len(answers(records)) == len(records) and all(_is_voice(record) for record in records)
        }

    async def _excuse(self, target: Target, connection: Connection, error: RingCentralError) -> float:
        """Note a failure and what it asks of a person; say in how many seconds to try again."""
        now = self._clock.now()
        retry_at = now + timedelta(seconds=self._pause)
        if isinstance(error, RateLimited):
            retry_at = max(error.retry_at, now)
            metrics.POLLS.labels(outcome="rate-limited").inc()
        elif isinstance(error, PermissionMissing | CredentialsRefused):
            # Other credentials, or the same ones for their own extension, may serve at once.
            await self._connections.note(connection, error)
            metrics.POLLS.labels(outcome="refused").inc()
        else:
            metrics.POLLS.labels(outcome="failed").inc()
        self._holds.hold((target.account_id, target.target), retry_at)
        log_failure(log, "poll failed", error)
        return (retry_at - now).total_seconds()

    async def _release(self, target: Target, memory: "_Memory") -> None:
        async with self._database.write() as db:
            await target.lease.release(db, **memory.changes())


@dataclass(slots=True)
class _Memory:
    """What is learnt about a target, kept in its row."""

    rhythm: Rhythm
    visibility: Visibility
    heard_until: datetime
    pages: int

    @classmethod
    def read(cls, target: Target, limits: PlannerLimits, now: datetime) -> "_Memory":
        window, low, high = limits.window_seconds, limits.lag_min_seconds, limits.lag_max_seconds
        known = Visibility.from_json(target.visibility) if target.visibility else None
        if known is None or not visibility.fits(known, window, low, high):
            known = visibility.prior_visibility(window, low, high)
        memory = target.memory or {}
        rhythm = Rhythm.from_json(memory["rhythm"]) if "rhythm" in memory else begin_rhythm(now, limits)
        if rhythm.slice_seconds != begin_rhythm(now, limits).slice_seconds:
            rhythm = begin_rhythm(now, limits)
        heard_until = (
            datetime.fromisoformat(memory["heardUntil"])
            if "heardUntil" in memory
            else now - timedelta(seconds=window)
        )
        return cls(rhythm, known, heard_until, int(memory.get("pages", 1)))

    def listen(self, recent: Sequence[Recent], now: datetime) -> None:
        """Count the calls whose end has become known since last time."""
        news = [call for call in recent if self.heard_until < call.end_known_at <= now]
        self.rhythm = hear(self.rhythm, [call.ended_at for call in news], now)
        self.heard_until = max([call.end_known_at for call in news], default=self.heard_until)

    def learn(self, looks: Sequence[Observation]) -> None:
        self.visibility = visibility.learn(self.visibility, looks)

    def changes(self) -> dict[str, object]:
        memory = {
            "rhythm": self.rhythm.to_json(),
            "heardUntil": self.heard_until.isoformat(),
            "pages": self.pages,
        }
        return {"memory": memory, "visibility": self.visibility.to_json()}


def _target_of(connection: Connection) -> str:
    return targets.ACCOUNT if connection.is_company_wide else connection.extension_id or connection.name


def _wrong_account(target: Target, polled: Polled) -> RingCentralError | None:
    """Notice credentials of another account than the one whose events come in."""
    if polled.account_id in (None, target.account_id):
        return None
    return CredentialsRefused(
        f"they belong to account {polled.account_id}, but the events come from account {target.account_id}",
        code=AccessReason.WRONG_ACCOUNT,
    )


def _match(records: Sequence[CallRecord], sought: Sequence[CallKeys]) -> Matching:
    return match_records(records, sought, _START_TOLERANCE_SECONDS)


def _look(call: Recent, polled: Polled) -> Observation:
    unseen = _looked_seconds(call) or 0.0
    return Observation(max(0.0, unseen), max(0.0, (polled.answered_at - call.ended_at).total_seconds()))


def _vain_look(call: Recent, polled: Polled, limits: PlannerLimits) -> Observation | None:
    age = (polled.sent_at - call.ended_at).total_seconds()
    return visibility.missed_observation(age, _looked_seconds(call), limits.last_look_seconds)


def _looked_seconds(call: Recent) -> float | None:
    """The call's age at the last poll that was to show it and did not."""
    return None if call.last_missed_at is None else (call.last_missed_at - call.ended_at).total_seconds()


def _is_voice(record: CallRecord) -> bool:
    return record.type is None or record.type.casefold() == "voice"


async def _waiting_accounts(db: AsyncConnection, now: datetime) -> list[AccountId]:
    """Return the accounts in which a call waits."""
    query = (
        select(calls.c.account_id)
        .where(
            calls.c.stage == "ended", calls.c.window_closes_at.is_not(None), calls.c.window_closes_at > now
        )
        .group_by(calls.c.account_id)
    )
    return [AccountId(account_id) for account_id in await db.scalars(query)]
