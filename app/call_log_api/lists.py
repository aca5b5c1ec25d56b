"""RingCentral's own lists for API clients: Active Calls, the Call Log and single records, with a short cache.

Records pass through unchanged. A server that does not know a filter ignores it and returns everything, so
direction and type are checked again here, and a page may have fewer records than its size.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from app.accounts.access import COMPANY_CODES
from app.accounts.connections import Connections
from app.accounts.selection import load_connection
from app.call_log_api.response_cache import ResponseCache, SharedResponse
from app.clock import Clock
from app.errors import CredentialsRefused, NotFound, PermissionMissing, RequestRefused, RingCentralError
from app.ids import AccountId, ExtensionId, RecordId, SessionId
from app.ringcentral.models import BulkItem, CallRecord, RecordsPage
from app.ringcentral.ports import Priority
from app.ringcentral.protocol.calls import ActiveCallsQuery, CallLogQuery
from app.ringcentral.protocol.paging import is_repeated_page

MOST_RECORDS = 100
_DAY = timedelta(hours=24)
_OK, _NOT_FOUND, _UNKNOWN = 200, 404, 502


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRules:
    """How long responses are shared, and how long a request waits for the rate budget, in seconds."""

    active_calls_fresh: float = 6.0
    call_log_fresh: float = 15.0
    patience: float = 5.0


class CallLogLists:
    """The lists of one process. `extension_id` None means the whole account.

    Every method raises the errors of RingCentral's client: RateLimited if the budget is exhausted;
    PermissionMissing also if no credentials can access what was requested; NoCredentials if there are none;
    and NotFound if RingCentral does not know the extension.
    """

    def __init__(
        self, clock: Clock, connections: Connections, shared: ResponseCache, rules: ListRules
    ) -> None:
        self._clock = clock
        self._connections = connections
        self._shared = shared
        self.rules = rules

    async def close(self) -> None:
        """Stop the requests to RingCentral that are under way."""
        await self._shared.close()

    async def active_calls(
        self, account_id: AccountId, extension_id: ExtensionId | None, query: ActiveCallsQuery
    ) -> SharedResponse:
        """Return a page of recent calls, as `{records, paging, hasNext, account}`."""

        async def fetch() -> dict[str, Any]:
            page: RecordsPage = await self._send(
                account_id,
                extension_id,
                lambda client, **options: client.fetch_active_calls_by(query, **options),
            )
            return _page_json(page, query.page, query.per_page, query)

        key_parts = ["active-calls", extension_id, _plain(query)]
        return await self._shared.get(account_id, key_parts, self.rules.active_calls_fresh, fetch)

    async def call_log(
        self, account_id: AccountId, extension_id: ExtensionId | None, query: CallLogQuery
    ) -> SharedResponse:
        """Return a page of the call log, as above, with `dateFrom` and `dateTo` of the query.

        `date_to` defaults to now and `date_from` to 24 hours before it, as at RingCentral. They are made
        explicit because the next page needs the same range.
        """

        async def fetch() -> dict[str, Any]:
            now = self._clock.now().replace(microsecond=0)
            # Never before `date_from`, which may be in the future: RingCentral may refuse a negative range.
            date_to = query.date_to or max(now, query.date_from or now)
            dated = replace(query, date_to=date_to, date_from=query.date_from or date_to - _DAY)
            page: RecordsPage = await self._send(
                account_id,
                extension_id,
                lambda client, **options: client.fetch_call_log_page(dated, **options),
            )
            dates = {"dateFrom": dated.date_from, "dateTo": dated.date_to}
            return _page_json(page, query.page, query.per_page, query) | dates

        key_parts = ["call-log", extension_id, _plain(query)]
        return await self._shared.get(account_id, key_parts, self.rules.call_log_fresh, fetch)

    async def session(
        self, account_id: AccountId, extension_id: ExtensionId | None, session_id: SessionId, view: str
    ) -> SharedResponse:
        """Return the records of one session, as above. Sessions older than a day may be missing."""

        async def fetch() -> dict[str, Any]:
            page: RecordsPage = await self._send(
                account_id,
                extension_id,
                lambda client, **options: client.fetch_call_log_by_session(session_id, view=view, **options),
            )
            return _page_json(replace(page, has_next=False), 1, max(len(page.records), 1), None)

        key_parts = ["session", extension_id, session_id, view]
        return await self._shared.get(account_id, key_parts, self.rules.call_log_fresh, fetch)

    async def records(
        self,
        account_id: AccountId,
        extension_id: ExtensionId | None,
        record_ids: Sequence[RecordId],
        view: str,
    ) -> dict[RecordId, SharedResponse]:
        """Return `{status, record, why}` for each id. Fresh records are not requested again."""
        keys: dict[str, list[Any]] = {
            record_id: ["record", extension_id, record_id, view] for record_id in record_ids
        }
        found = {
            RecordId(name): answer for name, answer in (await self._shared.find(account_id, keys)).items()
        }
        # Sorted, so that concurrent requests for the same ids share one response.
        missing = sorted({record_id for record_id in record_ids if record_id not in found})
        if missing:
            fetched = await self._fetch_records(account_id, extension_id, missing, view, keys)
            found |= {
                RecordId(item["id"]): SharedResponse(item["answer"], fetched.fetched_at)
                for item in fetched.body
            }
        return found

    async def _fetch_records(
        self,
        account_id: AccountId,
        extension_id: ExtensionId | None,
        record_ids: Sequence[RecordId],
        view: str,
        keys: Mapping[str, Any],
    ) -> SharedResponse:
        async def fetch() -> list[dict[str, Any]]:
            items: Sequence[BulkItem] = await self._send(
                account_id,
                extension_id,
                lambda client, **options: client.fetch_call_records(record_ids, view=view, **options),
            )
            found: list[dict[str, Any]] = [{"id": item.id, "answer": _item_json(item)} for item in items]
            if any(one["answer"]["status"] == _UNKNOWN for one in found):
                raise _PartlyUnknown(found)
            return found

        fresh = self.rules.call_log_fresh
        try:
            fetched = await self._shared.get(
                account_id, ["records", extension_id, list(record_ids), view], fresh, fetch
            )
        except _PartlyUnknown as partly:
            fetched = SharedResponse(partly.items, self._clock.now())
        stored = [
            (keys[item["id"]], item["answer"])
            for item in fetched.body
            if item["answer"]["status"] != _UNKNOWN
        ]
        await self._shared.store(account_id, stored, fetched.fetched_at, fresh)
        return fetched

    async def _send(
        self, account_id: AccountId, extension_id: ExtensionId | None, request: Callable[..., Awaitable[Any]]
    ) -> Any:
        """Run a request on a connection that can access the account or the extension.

        Records what a refusal says about the connection's access.
        """
        wanted = () if extension_id is None else (extension_id,)
        connection = await load_connection(self._connections, account_id, wanted)
        deadline = self._clock.now() + timedelta(seconds=self.rules.patience)
        try:
            return await request(
                connection.client, extension_id=extension_id, priority=Priority.READER, deadline=deadline
            )
        except RingCentralError as error:
            if _concerns_access(error, extension_id):
                await self._connections.note(connection, error)
            if extension_id is not None and _says_not_found(error):
                raise _no_extension(extension_id, error) from error
            raise


class _PartlyUnknown(Exception):
    """RingCentral's response lacks some records: it is not cached, so that they are requested again."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        super().__init__()
        self.items = items


def _concerns_access(error: RingCentralError, extension_id: ExtensionId | None) -> bool:
    """Whether a refusal is about the credentials and not about the requested extension."""
    if isinstance(error, CredentialsRefused):
        return True
    lacks_company = isinstance(error, PermissionMissing) and error.code in COMPANY_CODES
    return lacks_company and extension_id is None


def _says_not_found(error: RingCentralError) -> bool:
    """Whether a list does not exist. For single records, the client returns a 404 as an item's status."""
    return isinstance(error, RequestRefused) and error.status == _NOT_FOUND


def _no_extension(extension_id: ExtensionId, error: RingCentralError) -> NotFound:
    return NotFound(
        f"The account has no extension {extension_id} at RingCentral. Send the extension's id, such as "
        "711000101, not the number that people dial. The parties of calls have it as `extensionId`.",
        ringCentral={"code": error.code},
    )


def _plain(query: ActiveCallsQuery | CallLogQuery) -> list[Any]:
    return [[name, getattr(query, name)] for name in sorted(query.__dataclass_fields__)]


def _page_json(
    page: RecordsPage, number: int, per_page: int, query: ActiveCallsQuery | CallLogQuery | None
) -> dict[str, Any]:
    """Return a page as JSON. If a server ignores `page` and repeats the first one, the page is empty."""
    repeated = number > 1 and is_repeated_page(number, page, ())
    records = () if repeated else page.records
    size = page.per_page or per_page
    paging: dict[str, Any] = {"page": number, "perPage": size}
    if records:
        start = (number - 1) * size
        paging |= {"pageStart": start, "pageEnd": start + len(records) - 1}
    return {
        "records": [record.raw for record in records if query is None or _meets(record, query)],
        "paging": paging,
        "hasNext": page.has_next and not repeated,
        "account": page.account_id,
    }


def _meets(record: CallRecord, query: ActiveCallsQuery | CallLogQuery) -> bool:
    direction_fits = not query.direction or record.direction is None or record.direction in query.direction
    return direction_fits and (not query.type or record.type is None or record.type in query.type)


def _item_json(item: BulkItem) -> dict[str, Any]:
    if item.record is not None:
        return {"status": _OK, "record": item.record.raw, "why": None}
    return {"status": _status_of(item), "record": None, "why": item.why}


def _status_of(item: BulkItem) -> int:
    """Return RingCentral's status for a missing record; 502 if it must be requested again."""
    is_final = item.status is not None and 400 <= item.status < 500 and item.status not in (408, 429)
    return item.status if is_final and item.status is not None else _UNKNOWN
