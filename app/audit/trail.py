"""What a route writes into the audit: an entry in the transaction of its change, and what it refused."""

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.auth import CurrentKey
from app.api.dependencies import CurrentServices, Services
from app.api.known_keys import Key
from app.audit.model import Actor, ActorKind, AuditOutcome
from app.audit.model import AuditAction as AuditAction
from app.audit.model import differences as differences
from app.audit.store import record, was_just_refused
from app.errors import CallerError, StorageUnavailable

_ID_OF_OURS = re.compile(r"[a-z]{3,12}_[0-9a-z]{5,36}")


class Trail:
    """The entry of one request."""

    def __init__(self, action: AuditAction, key: Key) -> None:
        self.action = action
        self.actor = Actor(ActorKind.API_KEY, key.key_id)

    async def record(
        self,
        db: AsyncConnection,
        now: datetime,
        account_id: str,
        target: str | None = None,
        *,
        changed: bool = True,
        action: AuditAction | None = None,
        **details: Any,
    ) -> None:
        """Write the entry, in the transaction of the change. `action`: if it is another one than usual."""
        outcome = AuditOutcome.DONE if changed else AuditOutcome.UNCHANGED
        await record(
            db, now, account_id, action or self.action, self.actor, target=target, outcome=outcome,
            details=details,
        )  # fmt: skip


def audited(action: AuditAction) -> Any:
    """Return a dependency that provides the trail of a route, and writes an entry when it refuses a request.

    Name it before the dependency that checks the scope of the key, so that missing scopes are seen as well.
    """

    async def trail(request: Request, services: CurrentServices, key: CurrentKey) -> AsyncIterator[Trail]:
        made = Trail(action, key)
        try:
            yield made
        except CallerError as error:
            # The problem is the response, whether or not the entry can be written.
            with suppress(StorageUnavailable):
                await _record_refusal(services, request, made, key, error)
            raise

    trail.audits = action  # type: ignore[attr-defined]
    return Depends(trail)


async def _record_refusal(
    services: Services, request: Request, trail: Trail, key: Key, error: CallerError
) -> None:
    now = services.clock.now()
    # A loop of refusals costs reads, not writes.
    async with services.database.read() as db:
        if await was_just_refused(db, now, trail.action, trail.actor):
            return
    async with services.database.write() as db:
        told = {"problem": error.kind, "status": error.status}
        await record(
            db, now, key.owner, trail.action, trail.actor, target=_target_of(request),
            outcome=AuditOutcome.REFUSED, details=told,
        )  # fmt: skip


def _target_of(request: Request) -> str | None:
    """Return the id of ours in the path. What else a caller puts there may be anything."""
    values = [str(value) for value in request.path_params.values()]
    return next((value for value in values if _ID_OF_OURS.fullmatch(value)), None)
