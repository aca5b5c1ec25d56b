"""Sends one request for calls that are due in the Call Log, and writes what it shows."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from app.accounts.connections import Connection
from app.accounts.context import AccountsContext, AccountsWorker
from app.calls import store
from app.calls.evidence.matching import START_TOLERANCE_SECONDS, finished_records, match_records
from app.calls.ledger import open_ledger
from app.calls.model import Source
from app.enrichment.call_log import reading_plan
from app.enrichment.call_log.ingest import ingest
from app.enrichment.call_log.next_reads import NextReads
from app.enrichment.call_log.slices import sort_by_call, start_of
from app.enrichment.records.apply import update_calls
from app.enrichment.records.call_names import keys_of_call
from app.enrichment.records.plan import CallLogPlan
from app.enrichment.records.set_aside import write_in_batches
from app.errors import RequestRefused
from app.ids import AccountId, RecordId
from app.ringcentral.models import CallRecord
from app.ringcentral.protocol.paging import wants_next_page
from app.work.failures import log_failure

MOST_PAGES = 20
LONGEST_TURN_SECONDS = 300.0

log = structlog.get_logger(__name__)


class DueRequests(AccountsWorker):
    """Requests for due calls. Remembers per connection how many seconds of starts a page holds."""

    def __init__(self, context: AccountsContext, plan: CallLogPlan, next_reads: NextReads) -> None:
        super().__init__(context)
        self._plan = plan
        self._next_reads = next_reads
        self._page_seconds: dict[tuple[AccountId, str], float | None] = {}

    async def send(self, account_id: AccountId, connection: Connection, due: Sequence[store.DueCall]) -> int:
        """Send the request that is worth most for calls that are due; return how many it served."""
        page_seconds = self._page_seconds.get((account_id, connection.name))
        request = reading_plan.plan_read(await self._load_due(account_id, due), page_seconds)
        left = {call.call_id: call for call in due}
        is_refused = False
        try:
            unread = await self._send(account_id, connection, request, left)
        except RequestRefused as refusal:
            # The same request would be refused again: these calls are requested in another way the next time.
            log_failure(log, "a call log read was refused", refusal, calls=len(request.call_ids))
            unread, is_refused = frozenset(), True
        not_found = [call_id for call_id in request.call_ids if call_id in left and call_id not in unread]
        await self._next_reads.not_found(account_id, not_found, is_refused=is_refused)
        return len(due) - len(left) + len(not_found)

    async def _load_due(self, account_id: AccountId, due: Sequence[store.DueCall]) -> list[reading_plan.Due]:
        now = self._clock.now()
        named = [call.call_id for call in due if reading_plan.may_be_named(call, now)]
        async with self._database.read() as db:
            record_ids = await store.find_record_ids(db, account_id, named[: reading_plan.MOST_NAMED])
        return [reading_plan.as_due(call, now, record_ids.get(call.call_id, ())) for call in due]

    async def _send(
        self,
        account_id: AccountId,
        connection: Connection,
        request: reading_plan.Request,
        left: dict[str, store.DueCall],
    ) -> frozenset[str]:
        """Send a request and write what it shows; remove the calls that were read from `left`.

        Returns the ids of calls that it should have shown and did not: they are on pages after the last one
        read.
        """
        match request:
            case reading_plan.ByWindow():
                return await self._read_window(account_id, connection, request, left)
            case reading_plan.ByRecords(record_ids=record_ids):
                items = await connection.client.fetch_call_records(
                    record_ids, extension_id=connection.extension_id
                )
                records = [item.record for item in items if item.record]
                sent_at = min((item.sent_at for item in items), default=self._clock.now())
                await self._write(account_id, connection, left, records, sent_at)
            case reading_plan.BySession(session_id=session_id):
                page = await connection.client.fetch_call_log_by_session(
                    session_id, extension_id=connection.extension_id
                )
                await self._write(account_id, connection, left, page.records, page.sent_at)
        return frozenset()

    async def _read_window(
        self,
        account_id: AccountId,
        connection: Connection,
        window: reading_plan.ByWindow,
        left: dict[str, store.DueCall],
    ) -> frozenset[str]:
        """Read a window page by page, and write each page as it comes: a later refusal costs nothing that was
        read."""
        seen: set[RecordId] = set()
        oldest = window.date_to
        deadline = self._clock.now() + timedelta(seconds=LONGEST_TURN_SECONDS)
        for number in range(1, MOST_PAGES + 1):
            page = await connection.client.fetch_call_log_window(
                window.date_from,
                window.date_to,
                page=number,
                per_page=self._plan.page_size,
                types=self._plan.call_types,
                extension_id=connection.extension_id,
                deadline=deadline,
            )
            has_next = wants_next_page(number, page, seen)
            if number == 1:
                key = account_id, connection.name
                known = self._page_seconds.get(key)
                self._page_seconds[key] = reading_plan.seconds_per_page(page, known)
            records = [record for record in page.records if record.id not in seen]
            seen |= {record.id for record in records}
            await self._write(account_id, connection, left, records, page.sent_at)
            oldest = min(oldest, start_of(records) or oldest)
            if not has_next:
                return frozenset()
        # Pages list the newest calls first. The tolerance is there because starts are whole seconds.
        border = oldest + timedelta(seconds=START_TOLERANCE_SECONDS)
        return frozenset(call_id for call_id, call in left.items() if call.started_at <= border)

    async def _write(
        self,
        account_id: AccountId,
        connection: Connection,
        left: dict[str, store.DueCall],
        records: Sequence[CallRecord],
        sent_at: datetime,
    ) -> None:
        """Write the records of a request that was sent at `sent_at`: of due calls, which are removed from
        `left`, and of all other known calls."""
        keys = [keys_of_call(call) for call in left.values()]
        matching = match_records(records, keys)
        found = {
            call_id: finished
            for call_id, of_call in matching.found.items()
            if (finished := finished_records(of_call))
        }

        async def write(some: Sequence[str]) -> None:
            async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
                loaded = await store.load_by_ids(db, account_id, some)
                of_loaded = {call_id: found[call_id] for call_id in loaded}
                await update_calls(ledger, loaded, of_loaded, Source.CALL_LOG, sent_at, self._plan)
                for call in loaded.values():
                    self._next_reads.after_read(ledger, call, sent_at)

        async def set_aside(call_id: str, error: Exception) -> None:
            await self._next_reads.unstorable(account_id, call_id, error)

        await write_in_batches(list(found), write, set_aside)
        for call_id in found:
            del left[call_id]
        others = sort_by_call(record for of_call in matching.unknown.values() for record in of_call)
        await ingest(self._database, self._clock, self._plan, account_id, others, sent_at, grace=None)
        await self._connections.note(connection, None)
        log_read = log.info if found else log.debug
        log_read("read the call log", due=len(left) + len(found), found=len(found), records=len(records))
