"""What a reader can have with a call instead of by a second request: the parameter `include`.

Each part is loaded for all calls of a page at once where a list may have it. `app.projections` stands above
this package and registers its own.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.dependencies import Services
from app.calls import provenance, store, views
from app.calls.conversations.view import load_conversation_of
from app.calls.insights import store as insights_store
from app.calls.insights.model import show
from app.ids import AccountId

Json = dict[str, Any]
Loader = Callable[[Services, AsyncConnection, AccountId, Sequence[Json]], Awaitable[Mapping[str, Any]]]
"""Takes calls as the API shows them, and returns the part of each by the id of the call."""


class Included(StrEnum):
    """What can be included in a call. A list has those of `IN_LISTS`."""

    PROVENANCE = "provenance"
    CONVERSATION = "conversation"
    INSIGHTS = "insights"
    LEGS = "legs"
    DYNAMICS = "projections.dynamics"
    GENERIC = "projections.generic"
    HUBSPOT = "projections.hubspot"
    PIPEDRIVE = "projections.pipedrive"
    SALESFORCE = "projections.salesforce"
    ZENDESK = "projections.zendesk"
    ZOHO = "projections.zoho"


IN_LISTS = frozenset(Included) - {Included.PROVENANCE, Included.CONVERSATION}
"""Those that are loaded for a page at once."""

_LOADERS: dict[Included, Loader] = {}


def register(part: Included, loader: Loader) -> None:
    """State how a part is loaded; for packages above this one, when they are imported."""
    _LOADERS[part] = loader


async def load_included(
    services: Services,
    db: AsyncConnection,
    account_id: AccountId,
    calls: Sequence[Json],
    parts: Collection[Included],
) -> dict[str, Json]:
    """Return what is added to each call, by its id: `provenance`, and `included` with the other parts."""
    added: dict[str, Json] = {call["id"]: {} for call in calls}
    for part in sorted(parts):
        loaded = await _LOADERS[part](services, db, account_id, calls)
        for call_id, shown in added.items():
            _place(shown, part, loaded.get(call_id))
    return added


def _place(shown: Json, part: Included, value: Any) -> None:
    if part is Included.PROVENANCE:
        shown[part.value] = value
        return
    *above, name = part.value.split(".")
    at = shown.setdefault("included", {})
    for one in above:
        at = at.setdefault(one, {})
    at[name] = value


async def _load_provenance(
    _: Services, db: AsyncConnection, account_id: AccountId, calls: Sequence[Json]
) -> Mapping[str, Any]:
    return {call["id"]: await provenance.load_provenance(db, account_id, call["id"]) for call in calls}


async def _load_conversations(
    _: Services, db: AsyncConnection, account_id: AccountId, calls: Sequence[Json]
) -> Mapping[str, Any]:
    found = {call["id"]: await load_conversation_of(db, account_id, call["id"]) for call in calls}
    return {call_id: shown[0] for call_id, shown in found.items() if shown is not None}


async def _load_insights(
    _: Services, db: AsyncConnection, account_id: AccountId, calls: Sequence[Json]
) -> Mapping[str, Any]:
    rows = await insights_store.load_of_calls(db, account_id, [call["id"] for call in calls])
    return {
        call["id"]: {
            "data": [
                show(insights_store.read_row(row), call["parties"], row.fetched_at, row.source)
                for row in rows[call["id"]]
            ],
            "readiness": call["readiness"]["insights"],
        }
        for call in calls
    }


async def _load_legs(
    _: Services, db: AsyncConnection, account_id: AccountId, calls: Sequence[Json]
) -> Mapping[str, Any]:
    rows = await store.load_records(db, account_id, [call["id"] for call in calls])
    return {call["id"]: views.legs_json(rows[call["id"]], _primary_of(call)) for call in calls}


def _primary_of(call: Json) -> str | None:
    return next((record["id"] for record in call["records"] if record["primary"]), None)


register(Included.PROVENANCE, _load_provenance)
register(Included.CONVERSATION, _load_conversations)
register(Included.INSIGHTS, _load_insights)
register(Included.LEGS, _load_legs)
