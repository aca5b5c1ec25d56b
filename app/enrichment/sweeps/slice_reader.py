"""Reads all records of a slice of time from the Call Log."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app.accounts.connections import Connection, Connections
from app.clock import Clock
from app.enrichment.call_log.slices import SHORTEST_SPAN_SECONDS, TimeSlice, shorter, start_of
from app.enrichment.sweeps.state import SweepRules
from app.errors import RateLimited, RingCentralError
from app.ids import AccountId, RecordId
from app.ringcentral.models import CallRecord, RecordsPage
from app.ringcentral.protocol.paging import wants_next_page

PAGES_PER_SLICE = 4
"""The size that slices aim at: this much is held in memory, and read again after a crash."""

MOST_PAGES = 100
"""Most pages of a slice that cannot be shorter, or whose traffic varies more than expected."""

_USERS_AT_ONCE = 8
"""Users whose calls of a slice are read concurrently, where no connection sees the whole account."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SliceRead:
    """All records of a slice. `part` may be shorter than requested; `account_id` is the one in the responses.

    `sent_at` is when the first request that contributed to it was sent.
    """

    part: TimeSlice
    records: Sequence[CallRecord]
    account_id: AccountId | None
    sent_at: datetime


class SliceTooLongError(Exception):
    """The budget ran out within a slice. It is read again with `seconds`, so that the budget suffices."""

    def __init__(self, seconds: float, error: RateLimited) -> None:
        super().__init__(error.detail)
        self.seconds = max(SHORTEST_SPAN_SECONDS, seconds)
        self.error = error


class SliceReader:
    """Reads slices with the connections of an account."""

    def __init__(
        self,
        clock: Clock,
        connections: Connections,
        rules: SweepRules,
        page_size: int,
        call_types: Sequence[str] = ("Voice",),
    ) -> None:
        self._clock = clock
        self._connections = connections
        self._margin = timedelta(seconds=rules.margin)
        self._longest = timedelta(seconds=rules.longest)
        self._page_size = page_size
        self._call_types = call_types

    async def read(self, readers: Sequence[Connection], part: TimeSlice) -> SliceRead:
        """Read a slice with each connection; if one of them has too many records in it, the result is
        shorter.

        Raises RingCentralError, and SliceTooLongError.
        """
        deadline = self._clock.now() + self._longest
        turns = asyncio.Semaphore(_USERS_AT_ONCE)

        async def read(connection: Connection) -> SliceRead:
            async with turns:
                return await self._read_and_note(connection, part, deadline)

        # All of them finish before an error is raised: a request that went on alone would compete with the
        # next try.
        results = await asyncio.gather(*map(read, readers), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        reads = [result for result in results if isinstance(result, SliceRead)]
        records = {record.id: record for one in reads for record in one.records}
        return SliceRead(
            part=min((one.part for one in reads), key=lambda part: part.end),
            records=list(records.values()),
            account_id=next((one.account_id for one in reads if one.account_id is not None), None),
            sent_at=min(one.sent_at for one in reads),
        )

    async def _read_and_note(self, connection: Connection, part: TimeSlice, deadline: datetime) -> SliceRead:
        """Read a slice with one connection, and note what the outcome says of its access."""
        try:
            result = await self._read(connection, part, deadline)
        except RingCentralError as error:
            await self._connections.note(connection, error)
            raise
        await self._connections.note(connection, None)
        return result

    async def _read(self, connection: Connection, requested: TimeSlice, deadline: datetime) -> SliceRead:
        part = requested
        records: list[CallRecord] = []
        seen: set[RecordId] = set()
        account_id: AccountId | None = None
        sent_at, number = self._clock.now(), 0
        while number < MOST_PAGES:
            number += 1
            now = self._clock.now()
            if number > 1 and now >= deadline:
                late = RateLimited("reading a slice takes too long", retry_at=now, status=None)
                raise SliceTooLongError(part.seconds / 2, late)
            try:
                page = await self._fetch(connection, part, number, deadline)
            except RateLimited as error:
                if number == 1 and part == requested:
                    raise
                raise SliceTooLongError(part.seconds / min(number, 2), error) from error
            sent_at = page.sent_at if number == 1 else sent_at
            has_next = wants_next_page(number, page, seen)
            records += [record for record in page.records if record.id not in seen]
            seen |= {record.id for record in page.records}
            account_id = account_id or page.account_id
            if not has_next:
                break
            # The first page shows how dense the slice is. If it is too long, a shorter one is read from the
            # start.
            less = (
                shorter(part, self._margin.total_seconds(), start_of(records), PAGES_PER_SLICE)
                if number == 1
                else None
            )
            if less is not None:
                part, records, seen, number = less, [], set(), 0
            elif number == MOST_PAGES:
                log.warning("a slice holds more calls than can be read at once", begin=str(part.begin))
        return SliceRead(part, records, account_id, sent_at)

    async def _fetch(
        self, connection: Connection, part: TimeSlice, number: int, deadline: datetime
    ) -> RecordsPage:
        return await connection.client.fetch_call_log_window(
            part.begin - self._margin,
            part.end + self._margin,
            page=number,
            per_page=self._page_size,
            types=self._call_types,
            extension_id=connection.extension_id,
            deadline=deadline,
        )
