"""RingCentral's own lists for readers: Active Calls, the Call Log, single records; shared while they are fresh.

Records pass through untouched. A server that does not know a filter ignores it and answers with everything, so
direction and type are checked again here; a page may hold fewer records than it could for that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.accounts.access import COMPANY_CODES
from app.accounts.connections import Connection, Connections
from app.accounts.selection import load_connection
from app.call_log_api.response_cache import ResponseCache, Shared
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
    """How long answers may be shared and how long a reader waits for the rate budget, in seconds."""

    active_calls_fresh: float = 6.0
    call_log_fresh: float = 15.0
    patience: float = 5.0


class CallLogLists:
    """The lists, for the readers of one process. `extension_id` None means the whole account.

    Every method raises what RingCentral's client raises: RateLimited when the budget is gone; PermissionMissing also when
    no credentials of ours reach as far as asked; NoCredentials when there are none; and NotFound when RingCentral does
    not know the extension.
    """

    def __init__(
        self, clock: Clock, connections: Connections, shared: ResponseCache, rules: ListRules
    ) -> None:
        self._clock = clock
        self._connections = connections
        self._shared = shared
        self.rules = rules

    async def active_calls(
        self, account_id: AccountId, extension_id: ExtensionId | None, query: ActiveCallsQuery
    ) -> Shared:
        """Return a page of recent calls, as `{records, paging, hasNext, account}`."""

        async def ask() -> dict[str, Any]:
            connection = await self._reach(account_id, extension_id)
            page = await self._ask(
                connection,
                extension_id,
                connection.client.fetch_active_calls_by(
                    query,
                    extension_id=extension_id,
                    priority=Priority.READER,
                    deadline=self._deadline(),
                ),
            )
            return _page_json(page, query.page, query.per_page, query)

        question = ["active-calls", extension_id, _plain(query)]
        return await self._shared.get(account_id, question, self.rules.active_calls_fresh, ask)

    async def call_log(
        self, account_id: AccountId, extension_id: ExtensionId | None, query: CallLogQuery
    ) -> Shared:
        """Return a page of the call log, as above, with `dateFrom` and `dateTo` as they were asked.

        Without `date_to` that is now, without `date_from` 24 hours before, as RingCentral has it; said openly,
        because the next page needs the same.
        """

        async def ask() -> dict[str, Any]:
            now = self._clock.now().replace(microsecond=0)
            # Never before `date_from`, which may lie ahead: what runs backwards may be refused.
            date_to = query.date_to or max(now, query.date_from or now)
            dated = replace(query, date_to=date_to, date_from=query.date_from or date_to - _DAY)
            connection = await self._reach(account_id, extension_id)
            page = await self._ask(
                connection,
                extension_id,
                connection.client.fetch_call_log_page(
                    dated, extension_id=extension_id, priority=Priority.READER, deadline=self._deadline()
                ),
            )
            dates = {"dateFrom": dated.date_from, "dateTo": dated.date_to}
            return _page_json(page, query.page, query.per_page, query) | dates

        question = ["call-log", extension_id, _plain(query)]
        return await self._shared.get(account_id, question, self.rules.call_log_fresh, ask)

    async def session(
        self, account_id: AccountId, extension_id: ExtensionId | None, session_id: SessionId, view: str
    ) -> Shared:
        """Return the records of one session, as above. One that is older than a day may be missed."""

        async def ask() -> dict[str, Any]:
            connection = await self._reach(account_id, extension_id)
            page = await self._ask(
                connection,
                extension_id,
                connection.client.fetch_call_log_by_session(
                    session_id,
                    extension_id=extension_id,
                    view=view,
                    priority=Priority.READER,
                    deadline=self._deadline(),
                ),
            )
            return _page_json(replace(page, has_next=False), 1, max(len(page.records), 1), None)

        question = ["session", extension_id, session_id, view]
        return await self._shared.get(account_id, question, self.rules.call_log_fresh, ask)

    async def records(
        self,
        account_id: AccountId,
        extension_id: ExtensionId | None,
        record_ids: Sequence[RecordId],
        view: str,
    ) -> dict[RecordId, Shared]:
        """Return what became of each id: `{status, record, why}`. What is fresh is not asked for again."""
        questions: dict[str, Any] = {
            record_id: ["record", extension_id, record_id, view] for record_id in record_ids
        }
        found = {
            RecordId(name): answer
            for name, answer in (await self._shared.find(account_id, questions)).items()
        }
        missing = sorted({record_id for record_id in record_ids if record_id not in found})
        if missing:
            fetched = await self._fetch_records(account_id, extension_id, missing, view, questions)
            found |= {
                RecordId(item["id"]): Shared(item["answer"], fetched.fetched_at) for item in fetched.body
            }
        return found

    async def _fetch_records(
        self,
        account_id: AccountId,
        extension_id: ExtensionId | None,
        record_ids: Sequence[RecordId],
        view: str,
        questions: Mapping[str, Any],
    ) -> Shared:
        async def ask() -> list[dict[str, Any]]:
            connection = await self._reach(account_id, extension_id)
            items = await self._ask(
                connection,
                extension_id,
                connection.client.fetch_call_records(
                    record_ids,
                    extension_id=extension_id,
                    view=view,
                    priority=Priority.READER,
                    deadline=self._deadline(),
                ),
            )
            told = [{"id": item.id, "answer": _item_json(item)} for item in items]
            if any(item["answer"]["status"] == _UNKNOWN for item in told):
                raise _PartlyUnknown(told)
            return told

        fresh = self.rules.call_log_fresh
        try:
            fetched = await self._shared.get(
                account_id, ["records", extension_id, list(record_ids), view], fresh, ask
            )
        except _PartlyUnknown as partly:
            fetched = Shared(partly.told, self._clock.now())
        kept = [
            (questions[item["id"]], item["answer"])
            for item in fetched.body
            if item["answer"]["status"] != _UNKNOWN
        ]
        await self._shared.keep(account_id, kept, fetched.fetched_at, fresh)
        return fetched

    async def _reach(self, account_id: AccountId, extension_id: ExtensionId | None) -> Connection:
        concerned = () if extension_id is None else (extension_id,)
        return await load_connection(self._connections, account_id, concerned)

    async def _ask(self, connection: Connection, extension_id: ExtensionId | None, answer: Any) -> Any:
        """Await RingCentral's answer, and remember what a refusal says of the connection's rights."""
        try:
            return await answer
        except RingCentralError as error:
            if _concerns_rights(error, extension_id):
                await self._connections.note(connection, error)
            if extension_id is not None and _says_not_found(error):
                raise _no_extension(extension_id, error) from error
            raise

    def _deadline(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self.rules.patience)


class _PartlyUnknown(Exception):
    """Of some records RingCentral's answer does not tell: it is not kept, so that they are asked for again."""

    def __init__(self, told: list[dict[str, Any]]) -> None:
        super().__init__()
        self.told = told


def _concerns_rights(error: RingCentralError, extension_id: ExtensionId | None) -> bool:
    """Whether a refusal says something of the credentials and not of the one extension that was asked for."""
    if isinstance(error, CredentialsRefused):
        return True
    lacks_company = isinstance(error, PermissionMissing) and error.code in COMPANY_CODES
    return lacks_company and extension_id is None


def _says_not_found(error: RingCentralError) -> bool:
    """A list that is there can be empty but not missing; of a single record the client takes the 404 as an answer."""
    return isinstance(error, RequestRefused) and error.status == _NOT_FOUND


def _no_extension(extension_id: ExtensionId, error: RingCentralError) -> NotFound:
    return NotFound(
        f"RingCentral knows no extension {extension_id} of this account. Give the extension's id, such as 711000101, not "
        "the number that people dial: calls name it as `extensionId` of their parties",
        ringCentral={"code": error.code},
    )


def _plain(query: ActiveCallsQuery | CallLogQuery) -> list[Any]:
    return [[name, getattr(query, name)] for name in sorted(query.__dataclass_fields__)]


def _page_json(
    page: RecordsPage, number: int, per_page: int, query: ActiveCallsQuery | CallLogQuery | None
) -> dict[str, Any]:
    """Show a page. A server that drops `page` answers the first one for ever: that is no further page."""
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
    """Say why there is no record: RingCentral's status, or that its answer does not tell and has to be asked again."""
    is_told = item.status is not None and 400 <= item.status < 500 and item.status not in (408, 429)
    return item.status if is_told and item.status is not None else _UNKNOWN
