"""Bodies of requests and responses about RingCentral's own lists."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from app.api.schemas import ApiInput, ApiModel, OpenModel
from app.call_log_api.filters import RecordName, View
from app.call_log_api.lists import MOST_RECORDS

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


class RecordsAsked(ApiInput):
    """The records to get."""

    model_config = ConfigDict(json_schema_extra={"example": {"ids": ["QX7f14l8Nt_2aVB"], "view": "Detailed"}})

    ids: list[RecordName] = Field(min_length=1, max_length=MOST_RECORDS)
    view: View = "Simple"


class Paging(ApiModel):
    """The page. `pageStart` and `pageEnd` count from 0; an empty page does not have them."""

    page: int
    per_page: int
    page_start: int | None = None
    page_end: int | None = None


class RecordList(ApiModel):
    """Records as RingCentral returned them, newest first."""

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
        description="The URL of the next page on this service, with the time range of this page."
    )
    account: str | None
    extension_id: str | None = Field(description="The extension of the list; null for the whole account.")
    fetched_at: datetime = Field(description="When RingCentral returned it.")


class SingleRecord(OpenModel):
    """A record as RingCentral returned it."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _RECORD})

    id: str


class RecordItem(ApiModel):
    """The result for one id."""

    id: str
    status: int = Field(
        description="200, or RingCentral's status for this record; 502 if it is unreadable: try again.",
        examples=[200],
    )
    record: dict[str, Any] | None = Field(examples=[_RECORD])
    why: str | None = Field(description="RingCentral's error code, such as CMN-102.")
    fetched_at: datetime


class RecordItems(ApiModel):
    """One item per id, in the order of the request."""

    data: list[RecordItem]
