"""The routes that list the people of an account."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response

from app.accounts.directory import store
from app.api.auth import CallsReader
from app.api.dependencies import CurrentServices, JsonResponse
from app.api.problems import problem_responses
from app.api.schemas import ExtensionIdText
from app.calls.regions import load_region
from app.errors import NotFound
from app.extensions_api.listing import (
    ExtensionQuery,
    find_extension,
    find_extensions,
    show_directory,
    show_extension,
)
from app.extensions_api.schemas import ExtensionOut, ExtensionPage

router = APIRouter(prefix="/v1", tags=["people"])

_A_PAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Link": {"description": 'The URL of the next page, `rel="next"`.', "schema": {"type": "string"}}
        }
    }
}


@router.get(
    "/extensions",
    response_model=ExtensionPage,
    summary="List the people of the account",
    responses=_A_PAGE | problem_responses(400),
)
async def list_extensions(
    request: Request, services: CurrentServices, key: CallsReader, query: Annotated[ExtensionQuery, Query()]
) -> Response:
    """The extensions that match all filters: people, call queues, menus. If the directory cannot be read,
    `data` is empty or as it was last read, and `directory` says what is missing and who can grant it."""
    is_off = services.settings.directory_refresh_seconds <= 0
    async with services.database.read() as db:
        stored = await store.load(db, key.account_id)
        page = await find_extensions(db, key.account_id, query)
        region = await load_region(db, key.account_id)
    headers = {"Cache-Control": "no-store"}
    if page.next_cursor is not None:
        parameters = [pair for pair in request.query_params.multi_items() if pair[0] != "cursor"]
        headers["Link"] = (
            f'<{request.url.path}?{urlencode([*parameters, ("cursor", page.next_cursor)])}>; rel="next"'
        )
    body = {
        "data": [show_extension(row, region) for row in page.rows],
        "nextCursor": page.next_cursor,
        "directory": show_directory(stored, region, is_off=is_off),
    }
    return JsonResponse(body, headers=headers)


@router.get(
    "/extensions/{extension}",
    response_model=ExtensionOut,
    summary="Get a person of the account",
    responses=problem_responses(404),
)
async def get_extension(
    services: CurrentServices,
    key: CallsReader,
    extension: Annotated[
        ExtensionIdText, Path(description="RingCentral's id of the extension.", examples=["711000101"])
    ],
) -> Response:
    """One extension, also one that is no longer in the directory: `leftAt` says since when."""
    async with services.database.read() as db:
        stored = await store.load(db, key.account_id)
        row = await find_extension(db, key.account_id, extension)
        region = await load_region(db, key.account_id)
    if row is None:
        hint = "" if stored.source else " The directory has not been read: see GET /v1/extensions."
        raise NotFound(f"The directory has no extension {extension}.{hint}")
    return JsonResponse(show_extension(row, region))
