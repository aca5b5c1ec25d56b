"""Calls as JSON with what a reader has chosen. The whole calls are those of `listing.bodies`."""

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.dependencies import Services
from app.calls.listing.bodies import ShownCall
from app.calls.reading.fields import Chosen, pick
from app.calls.reading.included import Included, Json, load_included
from app.calls.reading.media import Media, WantedMedia
from app.calls.reading.vcon import vcon_of
from app.errors import BadInput
from app.ids import AccountId
from app.values.exact_json import read_json, write_json

__all__ = ["Media", "WantedMedia", "show_bodies", "show_call"]


def _pick_fields(body: bytes, chosen: Chosen) -> bytes:
    """Return the chosen fields of a call."""
    return write_json(pick(read_json(body), chosen))


async def show_bodies(
    services: Services,
    db: AsyncConnection,
    account_id: AccountId,
    bodies: Sequence[bytes],
    chosen: Chosen | None,
    parts: Collection[Included],
) -> list[bytes]:
    """Return calls with the fields that are `chosen`, and with these parts. Fields need no statement."""
    if not parts:
        return list(bodies) if chosen is None else [_pick_fields(body, chosen) for body in bodies]
    calls: list[Json] = [read_json(body) for body in bodies]
    added = await load_included(services, db, account_id, calls, parts)
    return [write_json(pick(call, chosen) | added[call["id"]]) for call in calls]


async def _show_vcon(services: Services, db: AsyncConnection, account_id: AccountId, body: bytes) -> bytes:
    """Return a call as a vCon, with its insights."""
    call: Json = read_json(body)
    added = await load_included(services, db, account_id, [call], [Included.INSIGHTS])
    insights: Sequence[Json] = added[call["id"]]["included"]["insights"]["data"]
    return write_json(vcon_of(call, insights, services.settings.public_url))


async def show_call(
    services: Services, shown: ShownCall, media: Media, chosen: Chosen | None, parts: Collection[Included]
) -> bytes:
    """Return a call in the form, with the fields and the parts that a request asks for. Raises BadInput."""
    if media is Media.VCON:
        if chosen is not None or parts:
            raise BadInput("A vCon is always whole: leave out `fields` and `include`", parameter="fields")
        async with services.database.read() as db:
            return await _show_vcon(services, db, shown.account_id, shown.body)
    if not parts:
        return shown.body if chosen is None else _pick_fields(shown.body, chosen)
    async with services.database.read() as db:
        (body,) = await show_bodies(services, db, shown.account_id, [shown.body], chosen, parts)
    return body
