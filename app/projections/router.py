"""The route that shows a call as a CRM wants it."""

from datetime import UTC
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response

from app.accounts.directory.store import find_time_zone
from app.api.auth import CallsReader
from app.api.dependencies import CurrentServices, JsonResponse
from app.api.etags import etag_of_body, is_known
from app.api.problems import problem_responses
from app.calls import views
from app.calls.lifetime.tombstones import no_call
from app.calls.names import CallName
from app.projections.conversation import join_conversations
from app.projections.included import register_projections
from app.projections.inputs import Context, owner_of
from app.projections.links import find_addresses
from app.projections.mappings.catalogue import mappings
from app.projections.mappings.model import Crm
from app.projections.parameters import ProjectionQuery, choose_object
from app.projections.projecting import project
from app.projections.schemas import ProjectionOut
from app.projections.time_zones import find_zone
from app.values.exact_json import write_json

router = APIRouter(prefix="/v1", tags=["projections"])

# At import, so that a faulty mapping file stops the start and not a request.
_MAPPINGS = mappings()
register_projections()

_AN_ETAG: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "ETag": {
                "description": 'The version of the call and a digest of the content, `"v4-9f8e7d6c5b4a"`.',
                "schema": {"type": "string"},
            }
        }
    },
    304: {"description": "You have the current version."},
}


@router.get(
    "/calls/{call}/projections/{crm}",
    response_model=ProjectionOut,
    summary="Get a call as a CRM wants it",
    responses=_AN_ETAG | problem_responses(400, 404, 409, 410),
)
async def get_projection(
    services: CurrentServices,
    key: CallsReader,
    call: CallName,
    crm: Annotated[
        Crm, Path(description="The CRM; `generic` for any other.", examples=["hubspot", "generic"])
    ],
    query: Annotated[ProjectionQuery, Query()],
    if_none_match: Annotated[
        str | None, Header(description="The ETags that you have.", examples=['"v4-9f8e7d6c5b4a"'])
    ] = None,
) -> Response:
    """The request that writes the call into the CRM, with the CRM's words, units, times and limits; what is
    doubtful about it; and whether it can be sent now."""
    mapping, version = choose_object(_MAPPINGS[crm], query)
    name = query.owner_time_zone
    async with services.database.read() as db:
        row = await views.load_row_by_name(db, key.account_id, call)
        if row is None:
            raise await no_call(db, key.account_id, call)
        views_of_it = await views.load_views(db, key.account_id, [row])
        (shown,) = await join_conversations(db, key.account_id, views_of_it)
        if name is None:
            person = owner_of(shown).person or {}
            name = await find_time_zone(db, key.account_id, person.get("extensionId"))
        address = query.recording_url
        if address is None:
            address = (await find_addresses(services, db, key.account_id, [shown])).get(shown["id"])
    zone = find_zone(name) if name is not None else None
    context = Context(
        zone=zone or UTC,
        zone_known=zone is not None,
        duration_of=query.duration_of,
        recording_url=address,
        app_id=query.app_id,
        linked_crm=query.linked_crm,
    )
    body = write_json(project(shown, crm, mapping, version, context))
    headers = {"ETag": etag_of_body(shown["version"], body), "Cache-Control": "private, no-cache"}
    if is_known(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=JsonResponse.media_type)
