"""Projections as parts of calls: `include=projections.hubspot`."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.directory.store import find_time_zones
from app.api.dependencies import Services
from app.calls.reading.included import Included, Json, Loader, register
from app.ids import AccountId
from app.projections.conversation import join_conversations
from app.projections.inputs import Context, owner_of
from app.projections.links import find_addresses
from app.projections.mappings.catalogue import mappings
from app.projections.mappings.model import Crm
from app.projections.parameters import ProjectionQuery, choose_object
from app.projections.projecting import project
from app.projections.time_zones import find_zone


def register_projections() -> None:
    """Make the projection for each CRM a part that can be included, as it is without parameters."""
    for crm in Crm:
        register(Included(f"projections.{crm}"), _loader_of(crm))


def _loader_of(crm: Crm) -> Loader:
    mapping, version = choose_object(mappings()[crm], ProjectionQuery())

    async def load(
        services: Services, db: AsyncConnection, account_id: AccountId, calls: Sequence[Json]
    ) -> Mapping[str, Any]:
        calls = await join_conversations(db, account_id, calls)
        owners = {call["id"]: (owner_of(call).person or {}).get("extensionId") for call in calls}
        names = await find_time_zones(db, account_id, {owner for owner in owners.values() if owner})
        addresses = await find_addresses(services, db, account_id, calls)
        shown = {}
        for call in calls:
            name = names[owners[call["id"]]]
            zone = find_zone(name) if name is not None else None
            context = Context(
                zone=zone or UTC, zone_known=zone is not None, recording_url=addresses.get(call["id"])
            )
            shown[call["id"]] = project(call, crm, mapping, version, context)
        return shown

    return load
