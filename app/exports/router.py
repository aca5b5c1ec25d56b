"""The routes of exports."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field
from starlette.responses import StreamingResponse

from app.api.auth import CallsReader
from app.api.dependencies import CurrentServices
from app.api.problems import problem_responses
from app.calls.listing.filters import ListFilters
from app.calls.reading.parameters import ShownParts, choose
from app.exports.formats import Csv, Ndjson
from app.exports.slots import CurrentSlots
from app.exports.stream import Export, open_export

router = APIRouter(prefix="/v1/export", tags=["export"])

_ENDS = "The last line says whether the export is complete; without it, the stream was cut."


class ExportQuery(ListFilters):
    """The filters of a list, and where to go on."""

    cursor: str | None = Field(
        None,
        max_length=512,
        description="The last cursor that you read, with the same filters: the export goes on behind it.",
    )


class NdjsonQuery(ExportQuery, ShownParts):
    """Filters, and what is shown of each call."""


def _described(media_type: str, example: str) -> dict[int | str, dict[str, Any]]:
    content = {media_type: {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": _ENDS, "content": content}} | problem_responses(400, 410, 429)


@router.get(
    "/calls.ndjson",
    response_class=StreamingResponse,
    summary="Export calls as lines of JSON",
    responses=_described(
        "application/x-ndjson",
        '{"id":"call_01jp0v7s4v8x2m6c9q3t5r7w1e","direction":"Inbound"}\n'
        '{"export":{"state":"complete","rows":1,"changes":"4711-9f8e7d6c5b4a","reason":null,"cursor":null}}\n',
    ),
)
async def export_ndjson(
    services: CurrentServices, slots: CurrentSlots, key: CallsReader, query: Annotated[NdjsonQuery, Query()]
) -> Response:
    """All calls that match all filters, one per line, in the order of their last change. A line with `export`
    is not a call: it has the cursor to go on from, or says how the export ended."""
    export = Export(
        services=services,
        slots=slots,
        key=key,
        filters=query,
        format=Ndjson(),
        chosen=choose(query.fields),
        parts=query.parts,
    )
    return await open_export(export, query.cursor)


@router.get(
    "/calls.csv",
    response_class=StreamingResponse,
    summary="Export calls for spreadsheets",
    responses=_described(
        "text/csv",
        "id,sessionId,…,cursor\r\ncall_01jp0v7s4v8x2m6c9q3t5r7w1e,1229016182016,…,\r\n"
        "#export complete rows=1 changes=4711-9f8e7d6c5b4a,,…,\r\n",
    ),
)
async def export_csv(
    services: CurrentServices, slots: CurrentSlots, key: CallsReader, query: Annotated[ExportQuery, Query()]
) -> Response:
    """All calls that match all filters, one per row, in the order of their last change. The first cell of the
    last row says how the export ended."""
    export = Export(services=services, slots=slots, key=key, filters=query, format=Csv())
    return await open_export(export, query.cursor)
