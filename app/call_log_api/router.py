"""RingCentral's own lists for API clients, of an account and of an extension, within our rate budget.

Responses are shared for some seconds; `Age` says how old one is. When the budget is exhausted, the response
is 503 with `Retry-After`.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Self
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response

from app.api.auth import CallsReader, Key
from app.api.dependencies import CurrentServices, JsonResponse, Services
from app.api.problems import problem_responses
from app.call_log_api.filters import (
    ActiveCallsFilters,
    CallLogFilters,
    ExtensionCallLogFilters,
    ExtensionPath,
    RecordPath,
    View,
    ViewQuery,
)
from app.call_log_api.lists import CallLogLists
from app.call_log_api.response_cache import SharedResponse
from app.call_log_api.schemas import RecordItems, RecordList, RecordsAsked, SingleRecord
from app.calls.regions import load_region
from app.errors import NotFound, PermissionMissing, RingCentralUnreachable
from app.ids import UNBOUND_ACCOUNT, ExtensionId, RecordId, SessionId
from app.values.times import time_text

router = APIRouter(prefix="/v1", tags=["call log"])


async def current_lists(request: Request) -> CallLogLists:
    """The lists of this process."""
    lists: CallLogLists = request.app.state.process.lists
    return lists


Lists = Annotated[CallLogLists, Depends(current_lists)]


_AGED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Age": {
                "description": "Seconds since RingCentral returned it.",
                "schema": {"type": "integer"},
            }
        }
    }
}
_REFUSED = _AGED | problem_responses(502)
_MISSED = _AGED | problem_responses(404, 502)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A request for lists of the key's account, or of one extension of it."""

    request: Request
    services: Services
    key: Key
    lists: CallLogLists
    extension_id: ExtensionId | None = None

    def of(self, extension_id: str) -> Self:
        return replace(self, extension_id=ExtensionId(extension_id))

    async def active_calls(self, filters: ActiveCallsFilters) -> Response:
        shared = await self.lists.active_calls(self.key.account_id, self.extension_id, filters.query())
        return self._list(shared, self.lists.rules.active_calls_fresh)

    async def call_log(self, filters: CallLogFilters) -> Response:
        filters.checked()
        whose = self.key.account_id, self.extension_id
        if filters.session_id is not None:
            shared = await self.lists.session(*whose, SessionId(filters.session_id), filters.view)
        else:
            shared = await self.lists.call_log(*whose, filters.query(await self._region(filters)))
        return self._list(shared, self.lists.rules.call_log_fresh)

    async def _region(self, filters: CallLogFilters) -> str | None:
        if filters.phone_number is None:
            return None
        async with self.services.database.read() as db:
            return await load_region(db, self.key.account_id)

    def _list(self, shared: SharedResponse, fresh_seconds: float) -> Response:
        body = shared.body
        next_page = _next_page(self.request, body) if body["hasNext"] else None
        headers = self._aged(shared.fetched_at, fresh_seconds)
        if next_page is not None:
            headers["Link"] = f'<{next_page}>; rel="next"'
        # Clients know no account `~`.
        known = self.key.account_id if self.key.account_id != UNBOUND_ACCOUNT else None
        return JsonResponse(
            {
                "records": body["records"],
                "paging": body["paging"],
                "nextPage": next_page,
                "account": body["account"] or known,
                "extensionId": self.extension_id,
                "fetchedAt": time_text(shared.fetched_at),
            },
            headers=headers,
        )

    async def records(self, body: RecordsAsked) -> Response:
        ids = [RecordId(one) for one in body.ids]
        found = await self.lists.records(self.key.account_id, self.extension_id, ids, body.view)
        data = [{"id": one, **found[one].body, "fetchedAt": time_text(found[one].fetched_at)} for one in ids]
        # The response is as old as its oldest record.
        oldest = min(shared.fetched_at for shared in found.values())
        return JsonResponse({"data": data}, headers=self._aged(oldest, self.lists.rules.call_log_fresh))

    async def record(self, name: RecordId, view: View) -> Response:
        found = (await self.lists.records(self.key.account_id, self.extension_id, [name], view))[name]
        if found.body["record"] is None:
            _check_status(name, found.body)
            whose = "" if self.extension_id is None else f" of extension {self.extension_id}"
            raise NotFound(
                f"RingCentral has no record {name}{whose}, or does not have it yet",
                ringCentral={"code": found.body["why"]},
            )
        headers = self._aged(found.fetched_at, self.lists.rules.call_log_fresh)
        return JsonResponse(found.body["record"], headers=headers)

    def _aged(self, fetched_at: datetime, fresh_seconds: float) -> dict[str, str]:
        age = max(0, int((self.services.clock.now() - fetched_at).total_seconds()))
        return {
            "Age": str(age),
            "Cache-Control": f"private, max-age={math.ceil(fresh_seconds)}",
            "Vary": "Authorization",
        }


def _check_status(name: RecordId, item: dict[str, Any]) -> None:
    """Raises RingCentralUnreachable or PermissionMissing, unless the status means that there is no record."""
    status, why = item["status"], item["why"]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RingCentralUnreachable(f"RingCentral's response does not contain record {name} ({why})")
    if status == HTTPStatus.FORBIDDEN:
        raise PermissionMissing(f"RingCentral refused access to record {name}", permission=None, code=why)


async def list_request(
    request: Request, services: CurrentServices, key: CallsReader, lists: Lists
) -> ListRequest:
    """The request, for the whole account; `of` narrows it to an extension."""
    return ListRequest(request, services, key, lists)


CurrentRequest = Annotated[ListRequest, Depends(list_request)]


# Active Calls


@router.get(
    "/active-calls", response_model=RecordList, summary="List active and recent calls", responses=_REFUSED
)
async def list_active_calls(
    lists: CurrentRequest, filters: Annotated[ActiveCallsFilters, Query()]
) -> Response:
    """Calls of the whole account that are active or ended at most two minutes ago. Records of active calls
    are provisional. For ended calls, `/v1/calls` has more and uses no request of RingCentral's rate limit."""
    return await lists.active_calls(filters)


@router.get(
    "/extensions/{extension_id}/active-calls",
    response_model=RecordList,
    summary="List active and recent calls of an extension",
    responses=_MISSED,
)
async def list_extension_active_calls(
    extension_id: ExtensionPath, lists: CurrentRequest, filters: Annotated[ActiveCallsFilters, Query()]
) -> Response:
    """The same for one extension. Works with credentials that can access only this extension, too."""
    return await lists.of(extension_id).active_calls(filters)


# Call Log


@router.get("/call-log", response_model=RecordList, summary="List the call log", responses=_REFUSED)
async def list_call_log(lists: CurrentRequest, filters: Annotated[CallLogFilters, Query()]) -> Response:
    """The account's call log. The time range is about the **start** of calls; default: the last 24 hours."""
    return await lists.call_log(filters)


@router.get(
    "/extensions/{extension_id}/call-log",
    response_model=RecordList,
    summary="List the call log of an extension",
    responses=_MISSED,
)
async def list_extension_call_log(
    extension_id: ExtensionPath, lists: CurrentRequest, filters: Annotated[ExtensionCallLogFilters, Query()]
) -> Response:
    """The same for one extension, with the further filters `transport` and `showBlocked`."""
    return await lists.of(extension_id).call_log(filters)


# Records


@router.post(
    "/call-log/batch-get", response_model=RecordItems, summary="Get many records by id", responses=_REFUSED
)
async def batch_get_call_log_records(lists: CurrentRequest, body: RecordsAsked) -> Response:
    """Up to 100 records of the account, each with its own status. Thirty use one request of the limit."""
    return await lists.records(body)


@router.post(
    "/extensions/{extension_id}/call-log/batch-get",
    response_model=RecordItems,
    summary="Get many records of an extension by id",
    responses=_MISSED,
)
async def batch_get_extension_call_log_records(
    extension_id: ExtensionPath, lists: CurrentRequest, body: RecordsAsked
) -> Response:
    """The same for one extension."""
    return await lists.of(extension_id).records(body)


@router.get(
    "/call-log/{record_id}", response_model=SingleRecord, summary="Get a record by id", responses=_MISSED
)
async def get_call_log_record(
    record_id: RecordPath, lists: CurrentRequest, view: ViewQuery = "Simple"
) -> Response:
    """One record of the account's call log, as RingCentral returned it."""
    return await lists.record(RecordId(record_id), view)


@router.get(
    "/extensions/{extension_id}/call-log/{record_id}",
    response_model=SingleRecord,
    summary="Get a record of an extension by id",
    responses=_MISSED,
)
async def get_extension_call_log_record(
    extension_id: ExtensionPath, record_id: RecordPath, lists: CurrentRequest, view: ViewQuery = "Simple"
) -> Response:
    """The same for one extension."""
    return await lists.of(extension_id).record(RecordId(record_id), view)


def _next_page(request: Request, body: dict[str, Any]) -> str:
    """Return the URL of the next page: the same query, with the time range fixed."""
    # Relative defaults would move the range from page to page.
    fixed = {name: _moment_text(body[name]) for name in ("dateFrom", "dateTo") if body.get(name)}
    others = [
        pair for pair in request.query_params.multi_items() if pair[0] not in {"page", "dateFrom", "dateTo"}
    ]
    following = [*others, *fixed.items(), ("page", str(body["paging"]["page"] + 1))]
    return f"{request.url.path}?{urlencode(following)}"


def _moment_text(moment: Any) -> str:
    return moment.isoformat().replace("+00:00", "Z") if isinstance(moment, datetime) else str(moment)
