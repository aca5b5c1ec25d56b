"""Whether an account's insights can be read, as far as we have found out; and what that means for its calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.insights.store import PART
from app.calls.model import Call
from app.db.engine import upsert_into
from app.db.tables import work
from app.ids import AccountId

KIND = "insights"


@dataclass(frozen=True, slots=True)
class Availability:
    """What is known. `answered`: somebody was allowed to ask. Closed until `closed_until`: nobody was.

    `refused` has, by name of a connection, until when it need not ask again.
    """

    answered: bool = False
    reason: str | None = None
    closed_until: datetime | None = None
    refused: Mapping[str, datetime] = field(default_factory=dict)

    def is_closed(self, now: datetime) -> bool:
        return self.closed_until is not None and now < self.closed_until

    def is_refused(self, name: str, now: datetime) -> bool:
        return name in self.refused and now < self.refused[name]

    def opened(self) -> "Availability":
        """Return what is known after an answer, though there may have been nothing in it."""
        return replace(self, answered=True, reason=None, closed_until=None)

    def turned_away(self, name: str, until: datetime) -> "Availability":
        """Return what is known after one connection was refused."""
        return replace(self, refused={**self.refused, name: until})

    def closed(self, reason: str, until: datetime) -> "Availability":
        """Return what is known after all connections were refused."""
        return replace(self, answered=False, reason=reason, closed_until=until)

    def to_json(self) -> dict[str, Any]:
        return {
            "answered": self.answered,
            "reason": self.reason,
            "closedUntil": self.closed_until.isoformat() if self.closed_until else None,
            "refused": {name: until.isoformat() for name, until in self.refused.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> "Availability":
        stored = stored or {}
        until = stored.get("closedUntil")
        return cls(
            answered=bool(stored.get("answered")),
            reason=stored.get("reason"),
            closed_until=datetime.fromisoformat(until) if until else None,
            refused={
                name: datetime.fromisoformat(moment) for name, moment in (stored.get("refused") or {}).items()
            },
        )


def expect_insights(call: Call, outlook: Availability, after_seconds: float, now: datetime) -> None:
    """Plan the look for the insights of a recorded call, once; or say that there will be none.

    While it is not known whether the account has them at all, the look is due at once.
    """
    if PART in call.readiness:
        return
    if outlook.is_closed(now):
        call.ready(PART, "none", now, outlook.reason)
        return
    call.ready(PART, "pending", now)
    call.insights_at = max(now, next_check_at(call, after_seconds)) if outlook.answered else now


def next_check_at(call: Call, after_seconds: float) -> datetime:
    """Return when insights should be there."""
    return (call.ended_at or call.started_at) + timedelta(seconds=after_seconds)


async def load_availability(db: AsyncConnection, account_id: AccountId) -> Availability:
    """Return what is known of an account; an account that nobody has asked for is as good as unknown."""
    query = select(work.c.state).where(work.c.account_id == account_id, work.c.kind == KIND)
    return Availability.from_json(await db.scalar(query))


async def save_availability(db: AsyncConnection, account_id: AccountId, outlook: Availability) -> None:
    key, state = {"account_id": account_id, "kind": KIND}, outlook.to_json()
    statement = upsert_into(db, work).values({**key, "state": state})
    await db.execute(statement.on_conflict_do_update(index_elements=list(key), set_={"state": state}))
