"""Follows changes of the Call Log with extract sync, where the tenant has it: one request serves all calls.

Whether a tenant has it is probed once and remembered. The token is stored after the records that came with
it, so a crash reads a response twice and never skips one. A call that the feed does not show has not changed
since: that, too, counts as a read of the call.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any

import structlog
from pydantic import Field, TypeAdapter
from sqlalchemy import select, update

from app import metrics
from app.accounts.connections import Connection
from app.db.tables import work
from app.enrichment.call_log.ingest import Ingested, ingest, learn_owner
from app.enrichment.call_log.slices import sort_by_call
from app.enrichment.gaps import Reason
from app.enrichment.records.plan import CallLogPlan
from app.errors import PermissionMissing, RequestRefused, RingCentralUnreachable
from app.ids import AccountId
from app.ringcentral.models import RecordsSync
from app.ringcentral.protocol.errors import SyncTokenRefused
from app.work.context import WorkContext, Worker
from app.work.leases import Lease, leased

KIND = "changes"
MOST_REQUESTS = 4
"""In one read; the rest follows with the next."""

LONGEST_PAUSE = timedelta(hours=1)
"""After a longer pause the feed starts again; a gap's sweep finds what lies between."""

_OVERLAP = timedelta(minutes=5)
_PROBE_AGAIN = timedelta(days=1)
_RETRY_BROKEN = timedelta(minutes=10)
_SECOND = timedelta(seconds=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FeedRead:
    """One read. All changes from `since` until `sent_at` were ingested by this read or an earlier one.

    `sent_at` is when its first request was sent: each call was ingested as it was then or later.
    """

    since: datetime
    sent_at: datetime
    ingested: Ingested
    is_complete: bool


@dataclass(frozen=True, slots=True)
class _Cursor:
    """How far the feed is read; stored as JSON in a row of `work`.

    `missing_until`: the tenant has no feed, do not ask before. `by_change`: `dateFrom` was seen to mean
    changes and not starts, which is undocumented. `has_newer`: there is more than what came with `token`.
    `changed_at`: the latest change that came with it, if reading can continue from there.
    """

    token: str | None = None
    since: datetime | None = None
    read_at: Annotated[datetime | None, Field(alias="readAt")] = None
    missing_until: Annotated[datetime | None, Field(alias="missingUntil")] = None
    by_change: Annotated[bool, Field(alias="byChange")] = False
    changed_at: Annotated[datetime | None, Field(alias="changedAt")] = None
    has_newer: Annotated[bool, Field(alias="hasNewer")] = False

    @property
    def asks_since(self) -> datetime | None:
        """From when to read by date; None: continue with the token. A read by date has four times as many
        records."""
        if self.token is None:
            return self.since
        return self.changed_at if self.by_change else None


_STORED: TypeAdapter[_Cursor] = TypeAdapter(_Cursor)


class FeedBusyError(Exception):
    """Another replica reads the feed and ingests it."""


class CallLogFeed(Worker):
    """The change feeds of all accounts; one replica at a time reads each."""

    def __init__(self, context: WorkContext, plan: CallLogPlan, *, patience_seconds: float = 60.0) -> None:
        """`patience_seconds` is how long a request may wait for the rate limit; the lease is renewed
        meanwhile."""
        super().__init__(context)
        self._context = context
        self._plan = plan
        self._patience = timedelta(seconds=patience_seconds)
        self._missing: dict[tuple[AccountId, str], datetime] = {}

    async def read(self, connection: Connection) -> FeedRead | None:
        """Ingest what has changed since the last read; return None where there is no feed.

        Raises FeedBusyError while another replica reads it, RingCentralError for what does not concern the
        feed itself.
        """
        key = (connection.holder, connection.name)
        now = self._clock.now()
        if not connection.is_company_wide or now < self._missing.get(key, now):
            return None
        lease = self._lease(connection)
        async with leased(self._database, self._clock, lease) as is_ours:
            if not is_ours:
                raise FeedBusyError
            async with self._database.read() as db:
                stored = await db.scalar(select(work.c.state).where(lease.row))
            cursor = _STORED.validate_python(stored or {})
            if cursor.missing_until is not None and now < cursor.missing_until:
                self._missing[key] = cursor.missing_until
                return None
            return await self._follow(connection, cursor)

    async def _follow(self, connection: Connection, cursor: _Cursor) -> FeedRead | None:
        cursor = self._resume(cursor)
        ingested, has_newer, sent_at = Ingested(), True, self._clock.now()
        for number in range(MOST_REQUESTS):
            try:
                response = await self._fetch(connection, cursor)
            except SyncTokenRefused as refusal:
                log.info("the change feed starts again", why=refusal.detail)
                cursor = self._resume(replace(cursor, token=None))
                response = await self._fetch(connection, cursor)
            if isinstance(response, _NoFeed):
                await self._note_missing(connection, response)
                return None
            ingested |= await self._ingest(connection, response)
            has_newer, sent_at = response.has_newer, sent_at if number else response.sent_at
            cursor = _after(cursor, response)
            # The cursor is stored after the records: a crash in between reads this response again.
            await self._save(connection, cursor)
            if not has_newer:
                break
        if ingested.opened:
            metrics.SWEPT.labels(reason=Reason.REGULAR.value).inc(len(ingested.opened))
        log.info(
            "read the change feed",
            read=len(ingested.read),
            found=len(ingested.opened),
            complete=not has_newer,
        )
        return FeedRead(cursor.since or sent_at, sent_at, ingested, not has_newer)

    def _resume(self, cursor: _Cursor) -> _Cursor:
        """Return from where to read: with the token, or as a full sync from a time."""
        now = self._clock.now()
        is_fresh = cursor.read_at is not None and now - cursor.read_at < LONGEST_PAUSE
        if cursor.token is not None and is_fresh:
            return cursor
        since = now - LONGEST_PAUSE
        # Within a backlog the position is that of the latest change read, not the time of the last request.
        position = cursor.changed_at if cursor.has_newer else cursor.read_at
        if position is not None and is_fresh:
            since = max(since, position - _OVERLAP)
        return _Cursor(since=since, read_at=cursor.read_at, by_change=cursor.by_change)

    async def _fetch(self, connection: Connection, cursor: _Cursor) -> "RecordsSync | _NoFeed":
        since = cursor.asks_since
        token = cursor.token if since is None else None
        deadline = self._clock.now() + self._patience
        try:
            response = await connection.client.fetch_call_log_changes(token, since, deadline=deadline)
        except (PermissionMissing, RequestRefused) as refusal:
            if isinstance(refusal, SyncTokenRefused) and token is not None:
                raise
            # A user who may read the Call Log need not have the feed. Reading the Call Log shows what is
            # missing.
            log.info("there is no change feed", why=refusal.detail, code=refusal.code)
            return _NoFeed(_PROBE_AGAIN)
        except RingCentralUnreachable as error:
            if error.status is None or error.status >= 300:
                raise
            # The response cannot be read. The Call Log itself must not wait for a broken feed.
            log.warning("the change feed cannot be read", why=error.detail, request_id=error.request_id)
            return _NoFeed(_RETRY_BROKEN)
        return response or _NoFeed(_PROBE_AGAIN)

    async def _ingest(self, connection: Connection, response: RecordsSync) -> Ingested:
        async with self._database.write() as db:
            owner = await learn_owner(db, connection.holder, response.account_id, self._clock.now())
        if owner is None:
            return Ingested()
        calls = sort_by_call(response.records)
        # The feed does not show a call again before it changes, so every call is opened now.
        return await ingest(
            self._database, self._clock, self._plan, owner, calls, response.sent_at, grace=timedelta(0)
        )

    async def _note_missing(self, connection: Connection, missing: "_NoFeed") -> None:
        until = self._clock.now() + missing.pause
        self._missing[(connection.holder, connection.name)] = until
        await self._save(connection, _Cursor(missing_until=until))

    async def _save(self, connection: Connection, cursor: _Cursor) -> None:
        """Store how far the feed is read, unless another replica has taken over."""
        state: dict[str, Any] = _STORED.dump_python(cursor, mode="json", by_alias=True)
        async with self._database.write() as db:
            await db.execute(update(work).where(self._lease(connection).held).values(state=state))

    def _lease(self, connection: Connection) -> Lease:
        return self._context.lease(connection.holder, f"{KIND}:{connection.name}")


@dataclass(frozen=True, slots=True)
class _NoFeed:
    """There is no usable feed; ask again after `pause`."""

    pause: timedelta


def _after(cursor: _Cursor, response: RecordsSync) -> _Cursor:
    """Return how far the feed is read after a response."""
    changes = [item.last_modified_time for item in response.records if item.last_modified_time is not None]
    starts = [item.start_time for item in response.records if item.start_time is not None]
    changed_at, since = max(changes, default=None), cursor.asks_since
    advances = response.has_newer and changed_at is not None and (since is None or changed_at > since)
    return _Cursor(
        token=response.token,
        since=cursor.since,
        read_at=response.sent_at,
        # A call that began before the requested date shows that the date means changes.
        by_change=cursor.by_change or (since is not None and min(starts, default=since) < since - _SECOND),
        changed_at=changed_at if advances else None,
        has_newer=response.has_newer,
    )
