"""Reads the responses that carry calls: pages, syncs, bulk reads, live sessions. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.ids import AccountId, RecordId
from app.ringcentral.models import (
    BadRecord,
    BulkItem,
    CallRecord,
    RecordsPage,
    RecordsSync,
    TelephonySession,
    read_call_record,
    read_session,
)
from app.ringcentral.models.fields import account_in_uri, read_count
from app.ringcentral.protocol.multistatus import ItemResponse, read_items
from app.ringcentral.protocol.responses import read_inner, read_records, read_with, unusable
from app.ringcentral.wire import Response, decode_object
from app.values.storable import BadJson


def decode_records_page(response: Response) -> RecordsPage:
    """Read a page of Active Calls or of the Call Log. One bad record does not affect its neighbours."""
    body, listed = read_records(response)
    paging, navigation = read_inner(body, "paging"), read_inner(body, "navigation")
    records, bad = _read_all(listed)
    return RecordsPage(
        sent_at=response.sent_at,
        records=records,
        bad=bad,
        page=read_count(paging.get("page")),
        per_page=read_count(paging.get("perPage")),
        has_next=bool(navigation.get("nextPage")),
        account_id=_account_of(body, listed),
    )


def decode_sync(response: Response) -> RecordsSync:
    """Read a page of the change feed. One without a token to continue from cannot be used."""
    body, listed = read_records(response)
    info = read_inner(body, "syncInfo")
    token = info.get("syncToken")
    if not isinstance(token, str) or not token:
        raise unusable(response, "the sync has no token")
    records, bad = _read_all(listed)
    return RecordsSync(
        sent_at=response.sent_at,
        records=records,
        bad=bad,
        token=token,
        has_newer=info.get("newerRecordsExist") is True,
        account_id=_account_of(body, listed),
    )


def decode_call_records(response: Response, ids: Sequence[RecordId]) -> list[BulkItem]:
    """Read the response to `call_records(ids)`, in any of its forms: one item per id, in the same order."""
    try:
        if len(ids) == 1 and "multipart/" not in response.content_type.lower():
            items = _single(response)
        else:
            items = read_items(response.content_type, response.body)
    except BadJson as error:
        raise unusable(response, str(error)) from error
    records = [read_call_record(item.body) for item in items]
    by_id = {record.id: record for record in records if isinstance(record, CallRecord)}
    # Records are matched by their own id. A failure has none, so its position decides.
    items += [ItemResponse(None, None)] * (len(ids) - len(items))
    return [
        BulkItem(id=record_id, sent_at=response.sent_at, status=200, record=by_id[record_id])
        if record_id in by_id
        else BulkItem(id=record_id, sent_at=response.sent_at, status=item.status, why=_why(item))
        for record_id, item in zip(ids, items, strict=False)
    ]


def decode_session(response: Response) -> TelephonySession:
    return read_with(response, read_session, "the session")


def _read_all(listed: Sequence[Any]) -> tuple[tuple[CallRecord, ...], tuple[BadRecord, ...]]:
    decoded = [read_call_record(item) for item in listed]
    return (
        tuple(item for item in decoded if isinstance(item, CallRecord)),
        tuple(item for item in decoded if isinstance(item, BadRecord)),
    )


def _single(response: Response) -> list[ItemResponse]:
    """Read the response to one id: the record, or one element of the JSON form."""
    try:
        return [ItemResponse(response.status, decode_object(response))]
    except BadJson:
        return read_items(response.content_type, response.body)


def _why(item: ItemResponse) -> str:
    if item.body is None:
        return "no readable part"
    code = item.body.get("errorCode") if isinstance(item.body, Mapping) else None
    return code[:80] if isinstance(code, str) and code else "not the record asked for"


def _account_of(body: Mapping[str, Any], listed: Sequence[Any]) -> AccountId | None:
    addresses = [body.get("uri"), *(item.get("uri") for item in listed if isinstance(item, dict))]
    return next((found for found in map(account_in_uri, addresses) if found), None)
