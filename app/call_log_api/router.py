"""RingCentral's own lists, for readers: account and extension level, with its filters, through our rate budget.

Answers are shared for some seconds; `Age` says how old one is. When the budget is gone, 503 says when to come back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from app.api.auth import CallsReader, Key
from app.api.dependencies import CurrentServices, JsonAnswer, Services
from app.api.problems import problem_responses
from app.call_log_api.lists import MOST_RECORDS, CallLogLists
from app.call_log_api.response_cache import Shared
from app.calls.listing.query import Moment
from app.calls.schemas import ApiModel, ExtensionIdText, Open
from app.calls.views import time_text
from app.errors import NotFound, PermissionMissing, RingCentralUnreachable, Unprocessable
from app.ids import UNBOUND_ACCOUNT, ExtensionId, RecordId, SessionId, is_alias
from app.ringcentral.protocol.calls import ActiveCallsQuery, CallLogQuery

router = APIRouter(prefix="/v1", tags=["call log"])

_RECORD: dict[str, Any] = {
    "uri": "https://platform.ringcentral.com/restapi/v1.0/account/908070001/call-log/QX7f14l8Nt_2aVB?view=Simple",
    "id": "QX7f14l8Nt_2aVB",
    "sessionId": "1229016182016",
    "telephonySessionId": "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000",
    "startTime": "2026-03-10T18:07:41.000Z",
    "duration": 96,
    "type": "Voice",
    "direction": "Inbound",
    "action": "Phone Call",
    "result": "Accepted",
    "to": {"phoneNumber": "+15550100101", "name": "Ana Ruiz"},
    "from": {"phoneNumber": "+15550179001", "name": "Dana Field"},
}

Direction = Literal["Inbound", "Outbound"]
CallType = Literal["Voice", "Fax"]
Transport = Literal["PSTN", "VoIP"]
RecordingType = Literal["Automatic", "OnDemand", "All"]
View = Literal["Simple", "Detailed"]
RecordName = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.~-]*[A-Za-z0-9_~-]$")
]
RecordPath = Annotated[
    RecordName, Path(description="RingCentral's id of the record.", examples=["QX7f14l8Nt_2aVB"])
]
ExtensionPath = Annotated[
    ExtensionIdText,
    Path(description="RingCentral's id of the extension, not its number.", examples=["711000101"]),
]
ViewQuery = Annotated[View, Query(description="`Detailed` brings the legs.")]


async def current_lists(request: Request) -> CallLogLists:
    """The lists that this process has opened."""
    lists: CallLogLists = request.app.state.process.lists
    return lists


Lists = Annotated[CallLogLists, Depends(current_lists)]


# What may be asked


class Asked(BaseModel):
    """What all lists share."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    direction: list[Direction] = Field(
        [], max_length=2, description="As the extension of the record sees it; repeatable."
    )
    type: list[CallType] = Field([], max_length=2, description="Repeatable; without it, both.")
    view: View = Field("Simple", description="`Detailed` brings the legs.")
    page: int = Field(1, ge=1, le=10_000)
    per_page: int = Field(100, ge=1, le=1000, description="RingCentral may give fewer.")


class ActiveCallsAsked(Asked):
    """Filters of Active Calls."""

    transport: list[Transport] = Field([], max_length=2, description="Repeatable.")

    def query(self) -> ActiveCallsQuery:
        return ActiveCallsQuery(
            view=self.view,
            direction=tuple(self.direction),
            type=tuple(self.type),
            transport=tuple(self.transport),
            page=self.page,
            per_page=self.per_page,
        )


class CallLogAsked(Asked):
    """Filters of the account's call log."""

    date_from: Moment | None = Field(
        None,
        description="Started then or later, with an offset; 24 hours before `dateTo` without it.",
        examples=["2026-03-10T18:00:00Z"],
    )
    date_to: Moment | None = Field(
        None,
        description="Started then or earlier, with an offset; now without it.",
        examples=["2026-03-10T19:00:00Z"],
    )
    recording_type: list[RecordingType] = Field(
        [], max_length=3, description="Only recorded calls. Repeatable: both kinds are `All`."
    )
    phone_number: Annotated[str, StringConstraints(pattern=r"^[+ ]?[0-9]{3,20}$")] | None = Field(
        None, description="On either side, in E.164.", examples=["+15550179001"]
    )
    extension_number: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}$")] | None = Field(
        None, description="On either side; not together with `phoneNumber`.", examples=["101"]
    )
    session_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")] | None = Field(
        None,
        description="The records of one session, by its numeric id; goes with `view` alone.",
        examples=["1229016182016"],
    )

    def checked(self) -> Self:
        """Raises Unprocessable for filters that do not go together."""
        if self.session_id is not None:
            others = sorted(to_camel(name) for name in self.model_fields_set - {"session_id", "view"})
            if others:
                raise Unprocessable(
                    f"RingCentral takes sessionId with view alone, not with {', '.join(others)}"
                )
            if not is_alias(self.session_id.lstrip("0") or "0"):
                raise Unprocessable("sessionId 0 stands for conferences and names no call")
        if self.phone_number is not None and self.extension_number is not None:
            raise Unprocessable("phoneNumber and extensionNumber do not go together")
        if self.date_from is not None and self.date_to is not None and self.date_from > self.date_to:
            raise Unprocessable("dateFrom lies behind dateTo")
        return self

    def query(self) -> CallLogQuery:
        number = self.phone_number
        return CallLogQuery(
            date_from=self.date_from and self.date_from.astimezone(UTC),
            date_to=self.date_to and self.date_to.astimezone(UTC),
            view=self.view,
            direction=tuple(self.direction),
            type=tuple(self.type),
            recording_type=_one_type(self.recording_type),
            # A plus that was not escaped in the address arrives as a blank.
            phone_number=number and f"+{number.strip().removeprefix('+')}",
            extension_number=self.extension_number,
            page=self.page,
            per_page=self.per_page,
        )


def _one_type(asked: Sequence[RecordingType]) -> RecordingType | None:
    """Return RingCentral's one word for several: its parameter takes one value, and two kinds are all there are."""
    kinds = set(asked)
    return "All" if len(kinds) > 1 else next(iter(kinds), None)


class ExtensionLogAsked(CallLogAsked):
    """Filters of an extension's call log, which has two more."""

    transport: list[Transport] = Field([], max_length=2, description="Repeatable.")
    show_blocked: bool | None = Field(None, description="Blocked calls too; RingCentral's default is true.")

    def query(self) -> CallLogQuery:
        asked = super().query()
        return CallLogQuery(
            **{name: getattr(asked, name) for name in asked.__dataclass_fields__}
            | {"transport": tuple(self.transport), "show_blocked": self.show_blocked}
        )


class RecordsAsked(BaseModel):
    """Which records to get."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        json_schema_extra={"example": {"ids": ["QX7f14l8Nt_2aVB"], "view": "Detailed"}},
    )

    ids: list[RecordName] = Field(min_length=1, max_length=MOST_RECORDS)
    view: View = "Simple"


# What is answered


class Paging(ApiModel):
    """Which page it is; `pageStart` and `pageEnd` count from 0 and are left out of an empty page."""

    page: int
    per_page: int
    page_start: int | None = None
    page_end: int | None = None


class RecordList(ApiModel):
    """Records in RingCentral's own words and order, newest start first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "records": [_RECORD],
                "paging": {"page": 1, "perPage": 100, "pageStart": 0, "pageEnd": 0},
                "nextPage": None,
                "account": "908070001",
                "extensionId": None,
                "fetchedAt": "2026-03-10T18:10:02.125Z",
            }
        }
    )

    records: list[dict[str, Any]]
    paging: Paging
    next_page: str | None = Field(
        description="The next page's address on this service, with the range of time that this page had."
    )
    account: str | None
    extension_id: str | None = Field(description="Whose list it is; null: the whole account's.")
    fetched_at: datetime = Field(description="When RingCentral said so.")


class SingleRecord(Open):
    """A record in RingCentral's own words."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _RECORD})

    id: str


class RecordItem(ApiModel):
    """What became of one id."""

    id: str
    status: int = Field(
        description="200, or RingCentral's status for this record; 502 where its answer cannot be read: ask again.",
        examples=[200],
    )
    record: dict[str, Any] | None = Field(examples=[_RECORD])
    why: str | None = Field(description="RingCentral's code, such as CMN-102.")
    fetched_at: datetime


class RecordItems(ApiModel):
    """One item per id, in the order asked."""

    data: list[RecordItem]


_AGED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Age": {
                "description": "Seconds since RingCentral gave the answer.",
                "schema": {"type": "integer"},
            }
        }
    }
}
_REFUSED = _AGED | problem_responses(502)
_MISSED = _AGED | problem_responses(404, 502)


# Whose lists


@dataclass(frozen=True, slots=True)
class Asking:
    """A reader who asks for lists of his account, or of one extension of it."""

    request: Request
    services: Services
    key: Key
    lists: CallLogLists
    extension_id: ExtensionId | None = None

    def of(self, extension_id: str) -> Self:
        return replace(self, extension_id=ExtensionId(extension_id))

    async def active_calls(self, asked: ActiveCallsAsked) -> Response:
        shared = await self.lists.active_calls(self.key.account_id, self.extension_id, asked.query())
        return self._list(shared, self.lists.rules.active_calls_fresh)

    async def call_log(self, asked: CallLogAsked) -> Response:
        asked.checked()
        whose = self.key.account_id, self.extension_id
        if asked.session_id is not None:
            shared = await self.lists.session(*whose, SessionId(asked.session_id), asked.view)
        else:
            shared = await self.lists.call_log(*whose, asked.query())
        return self._list(shared, self.lists.rules.call_log_fresh)

    def _list(self, shared: Shared, fresh_seconds: float) -> Response:
        body = shared.body
        next_page = _next_page(self.request, body) if body["hasNext"] else None
        headers = self._aged(shared.fetched_at, fresh_seconds)
        if next_page is not None:
            headers["Link"] = f'<{next_page}>; rel="next"'
        known = self.key.account_id if self.key.account_id != UNBOUND_ACCOUNT else None
        return JsonAnswer(
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
        oldest = min(shared.fetched_at for shared in found.values())
        return JsonAnswer({"data": data}, headers=self._aged(oldest, self.lists.rules.call_log_fresh))

    async def record(self, name: RecordId, view: View) -> Response:
        found = (await self.lists.records(self.key.account_id, self.extension_id, [name], view))[name]
        if found.body["record"] is None:
            _check_told(name, found.body)
            whose = "" if self.extension_id is None else f" of extension {self.extension_id}"
            raise NotFound(
                f"RingCentral has no record {name}{whose}, or not yet",
                ringCentral={"code": found.body["why"]},
            )
        headers = self._aged(found.fetched_at, self.lists.rules.call_log_fresh)
        return JsonAnswer(found.body["record"], headers=headers)

    def _aged(self, fetched_at: datetime, fresh_seconds: float) -> dict[str, str]:
        age = max(0, int((self.services.clock.now() - fetched_at).total_seconds()))
        return {
            "Age": str(age),
            "Cache-Control": f"private, max-age={math.ceil(fresh_seconds)}",
            "Vary": "Authorization",
        }


def _check_told(name: RecordId, told: dict[str, Any]) -> None:
    """Raise what a status other than "there is none" means."""
    status, why = told["status"], told["why"]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RingCentralUnreachable(f"RingCentral's answer does not tell of record {name} ({why})")
    if status == HTTPStatus.FORBIDDEN:
        raise PermissionMissing(f"RingCentral refuses record {name}", permission=None, code=why)


async def asking(request: Request, services: CurrentServices, key: CallsReader, lists: Lists) -> Asking:
    """Whoever asks, as yet for the whole account."""
    return Asking(request, services, key, lists)


Asks = Annotated[Asking, Depends(asking)]


# Active Calls


@router.get(
    "/active-calls", response_model=RecordList, summary="List calls of the last minutes", responses=_REFUSED
)
async def get_active_calls(asks: Asks, asked: Annotated[ActiveCallsAsked, Query()]) -> Response:
    """Calls that go on, or ended up to two minutes ago, of the whole account. What records of calls that go on say is
    provisional; for ended calls, `/v1/calls` knows more and costs nothing."""
    return await asks.active_calls(asked)


@router.get(
    "/extensions/{extension_id}/active-calls",
    response_model=RecordList,
    summary="List calls of an extension of the last minutes",
    responses=_MISSED,
)
async def get_extension_active_calls(
    extension_id: ExtensionPath, asks: Asks, asked: Annotated[ActiveCallsAsked, Query()]
) -> Response:
    """The same for one extension; also with credentials that see no more than that."""
    return await asks.of(extension_id).active_calls(asked)


# Call Log


@router.get("/call-log", response_model=RecordList, summary="List the call log", responses=_REFUSED)
async def get_call_log(asks: Asks, asked: Annotated[CallLogAsked, Query()]) -> Response:
    """The account's call log. Its range of time is about the **start** of calls; without one, the last 24 hours."""
    return await asks.call_log(asked)


@router.get(
    "/extensions/{extension_id}/call-log",
    response_model=RecordList,
    summary="List the call log of an extension",
    responses=_MISSED,
)
async def get_extension_call_log(
    extension_id: ExtensionPath, asks: Asks, asked: Annotated[ExtensionLogAsked, Query()]
) -> Response:
    """The same for one extension, which RingCentral lets filter by `transport` and `showBlocked` too."""
    return await asks.of(extension_id).call_log(asked)


# Records


@router.post(
    "/call-log/batch-get", response_model=RecordItems, summary="Get many records by id", responses=_REFUSED
)
async def batch_get_records(asks: Asks, body: RecordsAsked) -> Response:
    """Up to 100 records of the account, each with a status of its own; thirty cost one request of the limit."""
    return await asks.records(body)


@router.post(
    "/extensions/{extension_id}/call-log/batch-get",
    response_model=RecordItems,
    summary="Get many records of an extension by id",
    responses=_MISSED,
)
async def batch_get_extension_records(
    extension_id: ExtensionPath, asks: Asks, body: RecordsAsked
) -> Response:
    """The same for one extension."""
    return await asks.of(extension_id).records(body)


@router.get(
    "/call-log/{record_id}", response_model=SingleRecord, summary="Get a record by id", responses=_MISSED
)
async def get_record(record_id: RecordPath, asks: Asks, view: ViewQuery = "Simple") -> Response:
    """One record of the account's call log, as RingCentral has it."""
    return await asks.record(RecordId(record_id), view)


@router.get(
    "/extensions/{extension_id}/call-log/{record_id}",
    response_model=SingleRecord,
    summary="Get a record of an extension by id",
    responses=_MISSED,
)
async def get_extension_record(
    extension_id: ExtensionPath, record_id: RecordPath, asks: Asks, view: ViewQuery = "Simple"
) -> Response:
    """The same for one extension."""
    return await asks.of(extension_id).record(RecordId(record_id), view)


def _next_page(request: Request, body: dict[str, Any]) -> str:
    """Return the address of the next page: the same question, with the range of time held fast."""
    held = {name: _moment_text(body[name]) for name in ("dateFrom", "dateTo") if body.get(name)}
    kept = [
        pair for pair in request.query_params.multi_items() if pair[0] not in {"page", "dateFrom", "dateTo"}
    ]
    following = [*kept, *held.items(), ("page", str(body["paging"]["page"] + 1))]
    return f"{request.url.path}?{urlencode(following)}"


def _moment_text(moment: Any) -> str:
    return moment.isoformat().replace("+00:00", "Z") if isinstance(moment, datetime) else str(moment)
