"""What the routes of webhook endpoints share: parameters, and checks of what is sent."""

import re
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.auth import Key
from app.api.dependencies import CurrentServices, Services
from app.api.known_keys import Scope
from app.api.timestamps import Timestamp, check_year
from app.calls.feed.positions import Position, check, load_last_number
from app.calls.feed.selection import expand
from app.db.tables import timeline
from app.errors import BadInput, Forbidden, Unprocessable
from app.ids import AccountId
from app.push.api.schemas import ATTEMPT_ID_EXAMPLE, CURSOR_EXAMPLE, ENDPOINT_ID_EXAMPLE
from app.push.endpoints.model import Payload, Rules
from app.push.rules import address_rules
from app.push.sending.address_rules import read_url
from app.push.sending.client import WebhookClient
from app.vault import Vault

EVERYTHING = "*"
_CURSOR = re.compile(r"now|[0-9]{1,19}(-[0-9a-f]{1,12})?")
_TIME: TypeAdapter[datetime] = TypeAdapter(Timestamp)
FROM_NOW = "now"

EndpointPath = Annotated[
    str, Path(alias="endpoint", pattern="^whe_[0-9a-z]{26}$", examples=[ENDPOINT_ID_EXAMPLE])
]
AttemptPath = Annotated[
    str,
    Path(
        alias="attempt",
        pattern="^(att_[0-9a-z]{26}|[0-9]{1,19}(-[0-9a-f]{1,12})?)$",
        description="The id of an attempt, or a `webhook-id`.",
        examples=[ATTEMPT_ID_EXAMPLE, CURSOR_EXAMPLE],
    ),
]


async def _client(request: Request) -> WebhookClient:
    client: WebhookClient = request.app.state.process.webhooks
    return client


async def _vault(services: CurrentServices) -> Vault:
    return Vault(services.settings.secrets()[0])


CurrentClient = Annotated[WebhookClient, Depends(_client)]
CurrentVault = Annotated[Vault, Depends(_vault)]


def check_url(url: str, services: Services) -> None:
    """Raises Unprocessable for an address to which nothing may be sent."""
    try:
        read_url(url, address_rules(services.settings))
    except ValueError as error:
        raise Unprocessable(f"`url` {error}", parameter="url") from error


def check_rules(rules: Rules, key: Key) -> None:
    """Raises BadInput for a type that does not exist, and Forbidden if the key may not read calls."""
    expand([one for one in rules.types if one != EVERYTHING])
    if rules.payload is Payload.CALL and not key.allows(Scope.CALLS_READ):
        raise Forbidden(
            "Payloads with calls need a key that may read calls", requiredScope=str(Scope.CALLS_READ)
        )


def read_moment(text: str, parameter: str) -> str | datetime:
    """Return a cursor, or a point in time. Raises BadInput for anything else."""
    if _CURSOR.fullmatch(text):
        return text
    try:
        return check_year(_TIME.validate_python(text))
    except ValueError as error:
        raise BadInput(
            f"`{parameter}` must be a cursor of the feed, or a time such as 2026-03-10T18:00:00Z",
            parameter=parameter,
        ) from error


async def resolve_position(db: AsyncConnection, account_id: AccountId, wanted: str | datetime) -> int:
    """Return the number of the last change before a position or a time.

    Raises BadInput and HistoryChanged for a cursor as the feed does.
    """
    if isinstance(wanted, datetime):
        before = select(func.max(timeline.c.seq)).where(
            timeline.c.account_id == account_id, timeline.c.at < wanted
        )
        return int(await db.scalar(before) or 0)
    if wanted == FROM_NOW:
        return await load_last_number(db, account_id)
    position = Position.parse(wanted)
    await check(db, account_id, position)
    return position.seq
