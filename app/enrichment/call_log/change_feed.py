"""Follows the Call Log's changes with extract sync, where the tenant has it: one request serves all calls.

Probed once and remembered. The token is a row of the database, stored after the records that came with it, so a
crash reads an answer twice and never skips one. What the feed does not show has not changed since: that, too, is
a reading of a call.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import and_, select, update

from app import metrics
from app.accounts.connections import Connection
from app.db.tables import work
from app.enrichment.call_log.gaps import Reason
from app.enrichment.call_log.ingest import Ingested, ingest, learn_owner
from app.enrichment.call_log.slices import sort_by_call
from app.enrichment.records.apply import CallLogPlan
from app.errors import PermissionMissing, RequestRefused, RingCentralUnreachable
from app.ids import AccountId
from app.ringcentral.models import RecordsSync
from app.ringcentral.protocol.errors import SyncTokenRefused
from app.work.context import WorkContext, Worker
from app.work.leases import leased

KIND = "changes"
MOST_REQUESTS = 4
"""In one reading; the rest comes with the next."""

LONGEST_PAUSE = timedelta(hours=1)
"""After so long the feed begins anew: what lies between is a gap's to sweep."""

_OVERLAP = timedelta(minutes=5)
_PROBE_AGAIN = timedelta(days=1)
_BROKEN_AGAIN = timedelta(minutes=10)
_SECOND = timedelta(seconds=1)
_FLAGS = (("by_change", "byChange"), ("has_newer", "hasNewer"))
_MOMENTS = (
    ("since", "since"),
    ("read_at", "readAt"),
    ("missing_until", "missingUntil"),
    ("changed_at", "changedAt"),
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FeedRead:
    """One reading. All changes from `since` until `asked_at` are known, in this reading or an earlier one.

    `asked_at` is when the first of its requests left: each call was brought in as it was then or later.
    """

    since: datetime
    asked_at: datetime
    brought: Ingested
    is_complete: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """How far the feed is read. `missing_until`: the tenant has none, do not ask before.

    `by_change`: `dateFrom` was seen to mean changes and not starts, which is not documented. `has_newer`: there is more
    than what came with `token`; `changed_at` is the last change that did, if it is one to go on from.
    """

    token: str | None = None
    since: datetime | None = None
    read_at: datetime | None = None
    missing_until: datetime | None = None
    by_change: bool = False
    changed_at: datetime | None = None
    has_newer: bool = False

    @property
    def asks_since(self) -> datetime | None:
        """From when to ask; None: go on with the token. By date an answer holds four times as many records."""
        if self.token is None:
            return self.since
        return self.changed_at if self.by_change else None

    @classmethod
    def from_json(cls, stored: dict[str, Any] | None) -> "_Place":
        stored = stored or {}
        moments: dict[str, Any] = {
            name: datetime.fromisoformat(stored[key]) if stored.get(key) else None for name, key in _MOMENTS
        }
        flags: dict[str, Any] = {name: stored.get(key) is True for name, key in _FLAGS}
        return cls(token=stored.get("token"), **moments, **flags)

    def to_json(self) -> dict[str, Any]:
        moments = {key: getattr(self, name) for name, key in _MOMENTS}
        return {
            "token": self.token,
            **{key: getattr(self, name) for name, key in _FLAGS},
            **{key: moment and moment.isoformat() for key, moment in moments.items()},
        }


class FeedBusyError(Exception):
    """Another replica reads the feed, and brings in what is in it."""


class CallLogFeed(Worker):
    """The feeds of all accounts; one replica at a time reads one."""

    def __init__(self, context: WorkContext, plan: CallLogPlan, *, patience_seconds: float = 60.0) -> None:
        """`patience_seconds` is how long a request may wait for its turn; the lease is renewed meanwhile."""
        super().__init__(context)
        self._context = context
        self._plan = plan
        self._patience_seconds = patience_seconds
        self._pause = _PROBE_AGAIN
        self._missing: dict[tuple[AccountId, str], datetime] = {}

    async def read(self, connection: Connection) -> FeedRead | None:
        """Bring in what has changed since the last time; None where there is no feed.

        Raises FeedBusyError while another replica reads it, RingCentralError for what is not about the feed itself.
        """
        key = (connection.holder, connection.name)
        now = self._clock.now()
        if not connection.is_company_wide or now < self._missing.get(key, now):
            return None
        lease = self._context.lease(connection.holder, _kind(connection))
        async with leased(self._database, self._clock, lease) as is_ours:
            if not is_ours:
                raise FeedBusyError
            place = await self._load(connection)
            if place.missing_until is not None and now < place.missing_until:
                self._missing[key] = place.missing_until
                return None
            return await self._follow(connection, place)

    async def _follow(self, connection: Connection, place: _Place) -> FeedRead | None:
        place = self._begun(place)
        brought, has_newer, asked_at = Ingested(), True, self._clock.now()
        for number in range(MOST_REQUESTS):
            try:
                answer = await self._fetch(connection, place)
            except SyncTokenRefused as refusal:
                log.info("the feed begins anew", why=refusal.detail)
                place = self._begun(replace(place, token=None))
                answer = await self._fetch(connection, place)
            if answer is None:
                await self._remember_missing(connection)
                return None
            brought |= await self._take(connection, answer)
            has_newer, asked_at = answer.has_newer, asked_at if number else answer.sent_at
            place = _after(place, answer)
            await self._save(connection, place)
            if not has_newer:
                break
        if brought.opened:
            metrics.SWEPT.labels(reason=Reason.REGULAR.value).inc(len(brought.opened))
        log.info("read the feed", read=len(brought.read), found=len(brought.opened), complete=not has_newer)
        return FeedRead(place.since or asked_at, asked_at, brought, not has_newer)

    def _begun(self, place: _Place) -> _Place:
        """Return from where to read: the token, or the time of a full sync."""
        now = self._clock.now()
        is_fresh = place.read_at is not None and now - place.read_at < LONGEST_PAUSE
        if place.token is not None and is_fresh:
            return place
        since = now - LONGEST_PAUSE
        # Within a backlog it stands where its last change was, not where we last asked.
        stood_at = place.changed_at if place.has_newer else place.read_at
        if stood_at is not None and is_fresh:
            since = max(since, stood_at - _OVERLAP)
        return _Place(since=since, read_at=place.read_at, by_change=place.by_change)

    async def _fetch(self, connection: Connection, place: _Place) -> RecordsSync | None:
        deadline = self._clock.now() + timedelta(seconds=self._patience_seconds)
        since = place.asks_since
        token = place.token if since is None else None
        try:
            return await connection.client.fetch_call_log_changes(token, since, deadline=deadline)
        except (PermissionMissing, RequestRefused) as refusal:
            if isinstance(refusal, SyncTokenRefused) and token is not None:
                raise
            # Whoever may read the Call Log need not have the feed; the Call Log itself says what is missing.
            log.info("there is no feed", why=refusal.detail, code=refusal.code)
            return None
        except RingCentralUnreachable as error:
            if error.status is None or error.status >= 300:
                raise
            # An answer came and cannot be read. The Call Log itself must not wait for a feed that is broken.
            log.warning("the feed cannot be read", why=error.detail, request_id=error.request_id)
            self._pause = _BROKEN_AGAIN
            return None

    async def _take(self, connection: Connection, answer: RecordsSync) -> Ingested:
        async with self._database.write() as db:
            owner = await learn_owner(db, connection.holder, answer.account_id, self._clock.now())
        if owner is None:
            return Ingested()
        calls = sort_by_call(answer.records)
        # It will not be shown again before it changes, so nothing is left for later.
        return await ingest(
            self._database, self._clock, self._plan, owner, calls, answer.sent_at, grace=timedelta(0)
        )

    async def _remember_missing(self, connection: Connection) -> None:
        pause, self._pause = self._pause, _PROBE_AGAIN
        until = self._clock.now() + pause
        self._missing[(connection.holder, connection.name)] = until
        await self._save(connection, _Place(missing_until=until))

    async def _load(self, connection: Connection) -> _Place:
        async with self._database.read() as db:
            return _Place.from_json(await db.scalar(select(work.c.state).where(_row_of(connection))))

    async def _save(self, connection: Connection, place: _Place) -> None:
        """Write down how far the feed is read, unless another replica has taken over."""
        mine = self._context.lease(connection.holder, _kind(connection)).held
        async with self._database.write() as db:
            await db.execute(update(work).where(mine).values(state=place.to_json()))


def _after(place: _Place, answer: RecordsSync) -> _Place:
    """Return where the feed stands after an answer."""
    changes = [item.last_modified_time for item in answer.records if item.last_modified_time is not None]
    starts = [item.start_time for item in answer.records if item.start_time is not None]
    changed_at, since = max(changes, default=None), place.asks_since
    goes_on = answer.has_newer and changed_at is not None and (since is None or changed_at > since)
    return _Place(
        token=answer.token,
        since=place.since,
        read_at=answer.sent_at,
        # A call that began before the date that was asked for.
        by_change=place.by_change or (since is not None and min(starts, default=since) < since - _SECOND),
        changed_at=changed_at if goes_on else None,
        has_newer=answer.has_newer,
    )


def _kind(connection: Connection) -> str:
    return f"{KIND}:{connection.name}"


def _row_of(connection: Connection) -> Any:
    return and_(work.c.account_id == connection.holder, work.c.kind == _kind(connection))
