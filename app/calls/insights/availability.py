"""Whether the insights of an account can be read, and when to look for those of a call."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.insights.store import PART
from app.calls.model import Call, ReadinessState
from app.db.engine import upsert_into
from app.db.tables import work
from app.ids import AccountId

KIND = "insights"


@dataclass(frozen=True, slots=True)
class Availability:
    """What is known about an account.

    `answered`: a connection was allowed to read insights. `closed_until`: until then, none is. `refused`: by
    the name of a connection, until when it does not try again.
    """

    __pydantic_config__: ClassVar = ConfigDict(alias_generator=to_camel)  # as it is stored

    answered: bool = False
    reason: str | None = None
    closed_until: datetime | None = None
    refused: Mapping[str, datetime] = field(default_factory=dict)

    def is_closed(self, now: datetime) -> bool:
        return self.closed_until is not None and now < self.closed_until

    def is_refused(self, name: str, now: datetime) -> bool:
        return name in self.refused and now < self.refused[name]

    def opened(self) -> "Availability":
        """Return what is known after a response, even an empty one."""
        return replace(self, answered=True, reason=None, closed_until=None)

    def turned_away(self, name: str, until: datetime) -> "Availability":
        """Return what is known after one connection was refused."""
        return replace(self, refused={**self.refused, name: until})

    def closed(self, reason: str, until: datetime) -> "Availability":
        """Return what is known after all connections were refused."""
        return replace(self, answered=False, reason=reason, closed_until=until)


_ADAPTER = TypeAdapter(Availability)


def read_availability(stored: Mapping[str, Any] | None) -> Availability:
    return _ADAPTER.validate_python(stored or {})


def write_availability(availability: Availability) -> dict[str, Any]:
    stored: dict[str, Any] = _ADAPTER.dump_python(availability, mode="json", by_alias=True)
    return stored


def expect_insights(call: Call, availability: Availability, after_seconds: float, now: datetime) -> None:
    """Schedule the first look for the insights of a recorded call, or record that there will be none.

    While it is unknown whether the account has insights at all, the look is due at once.
    """
    # Only once: a later record of the call must not restart the search.
    if PART in call.readiness:
        return
    if availability.is_closed(now):
        call.ready(PART, ReadinessState.NONE, now, availability.reason)
        return
    call.ready(PART, ReadinessState.PENDING, now)
    call.insights_at = max(now, next_check_at(call, after_seconds)) if availability.answered else now


def next_check_at(call: Call, after_seconds: float) -> datetime:
    """Return when the insights should be available."""
    return (call.ended_at or call.started_at) + timedelta(seconds=after_seconds)


async def load_availability(db: AsyncConnection, account_id: AccountId) -> Availability:
    """Return what is known about an account."""
    query = select(work.c.state).where(work.c.account_id == account_id, work.c.kind == KIND)
    return read_availability(await db.scalar(query))


async def save_availability(db: AsyncConnection, account_id: AccountId, availability: Availability) -> None:
    key = {"account_id": account_id, "kind": KIND}
    state = write_availability(availability)
    statement = upsert_into(db, work).values({**key, "state": state})
    await db.execute(statement.on_conflict_do_update(index_elements=list(key), set_={"state": state}))
