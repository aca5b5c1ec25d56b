"""Streams an export, page by page.

Calls come in the order of their last change, whose numbers only grow. A call that changes meanwhile moves
behind the place that was reached, and comes again with what it has become. So every call that exists from
start to end comes at least once, whatever changes, and the export ends when it has caught up.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import ExitStack
from dataclasses import dataclass

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.auth import Key, check_still_valid, watch
from app.api.dependencies import Services
from app.calls.feed import positions
from app.calls.listing.bodies import ShownPage, load_page
from app.calls.listing.filters import ListFilters, ListQuery, Order
from app.calls.reading.fields import Chosen
from app.calls.reading.included import Included
from app.calls.reading.showing import show_bodies
from app.errors import CallerError, StorageUnavailable
from app.exports.formats import Ending, Format
from app.exports.slots import ExportSlots

PAGE_SIZE = 100
"""Calls that are read at once. Building their JSON takes the event loop of everybody."""

STALLED_SECONDS = 60.0
"""An export whose reader takes nothing for so long is given up: it would keep others out."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What is exported, and how."""

    services: Services
    slots: ExportSlots
    key: Key
    filters: ListFilters
    format: Format
    chosen: Chosen | None = None
    parts: Collection[Included] = ()
    page_size: int = PAGE_SIZE

    async def load(self, cursor: str | None) -> ShownPage:
        """Return the page at a cursor, from the kept answers nothing and into them nothing.

        Raises BadInput and HistoryChanged, as a list does.
        """
        stated = self.filters.model_dump(include=set(ListFilters.model_fields), exclude_defaults=True)
        query = ListQuery(**stated, order=Order.EARLIEST_CHANGE, limit=self.page_size, cursor=cursor)
        account_id = self.key.account_id
        async with self.slots.reading, self.services.database.read() as db:
            page = await load_page(db, account_id, query, None)
            bodies = await show_bodies(self.services, db, account_id, page.bodies, self.chosen, self.parts)
        return ShownPage(bodies, page.next_cursor)

    async def find_end_of_feed(self) -> str:
        """Return the cursor of the feed from which a reader follows what changes after the export began."""
        async with self.services.database.read() as db:
            return str(await positions.load_end(db, self.key.account_id))


async def open_export(export: Export, cursor: str | None) -> StreamingResponse:
    """Return the response that streams an export. What can be refused is refused before it starts.

    Raises TooManyExports, BadInput and HistoryChanged.
    """
    with ExitStack() as stack:
        stack.enter_context(export.slots.take(export.key.account_id))
        changes = await export.find_end_of_feed()
        first = await export.load(cursor)
        return _ExportResponse(_lines(export, first, cursor, changes), export.format, stack.pop_all())
    raise AssertionError("unreachable")  # The stack never suppresses an exception.


async def _lines(export: Export, page: ShownPage, cursor: str | None, changes: str) -> AsyncGenerator[bytes]:
    rows, reason = 0, None
    yield export.format.start(is_first=cursor is None)
    with watch(export.services, export.key):
        while True:
            rows += len(page.bodies)
            cursor = page.next_cursor
            yield export.format.page(page.bodies, cursor)
            if cursor is None:
                break
            reason = await _why_to_stop(export)
            if reason is not None:
                break
            try:
                page = await export.load(cursor)
            except StorageUnavailable:
                reason = "storage-unavailable"
                break
            except CallerError as error:  # the database was restored meanwhile
                reason, cursor = error.kind, None
                break
    yield export.format.end(Ending(rows, changes, reason, cursor))


async def _why_to_stop(export: Export) -> str | None:
    if export.services.stopping.is_set():
        return "shutting-down"
    try:
        await check_still_valid(export.services, export.key)
    except CallerError as error:
        return error.kind
    return None


class _ExportResponse(StreamingResponse):
    """Sends an export, and gives its place back. One that is given up remains incomplete: its last line is
    missing, and the server closes the connection."""

    def __init__(self, lines: AsyncGenerator[bytes], format_: Format, held: ExitStack) -> None:
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="calls.{format_.suffix}"',
            "X-Accel-Buffering": "no",
            "X-Content-Type-Options": "nosniff",
        }
        super().__init__(lines, headers=headers, media_type=format_.media_type)
        self._lines = lines
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: object) -> None:
            async with asyncio.timeout(STALLED_SECONDS):
                await send(message)  # type: ignore[arg-type]

        with self._held:
            try:
                await super().__call__(scope, receive, send_in_time)
            except TimeoutError:
                log.warning("export given up: its reader takes nothing", after_seconds=STALLED_SECONDS)
            finally:
                await self._lines.aclose()
