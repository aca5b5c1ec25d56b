"""An inbox that tests fill directly, and the loops that empty it, on a fake clock."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy import select

from app.calls import store
from app.calls.model import Call
from app.db.engine import Database
from app.db.tables import calls, deliveries, timeline
from app.settings import Settings
from app.webhooks.folding.end_watch import EndWatch
from app.webhooks.folding.fold import Folder
from app.webhooks.folding.stages import EndRules
from app.webhooks.payloads.notification import peek
from tests.factories import received_at
from tests.fakes.clock import FakeClock
from tests.fakes.context import accounts_context, work_context
from tests.fakes.ringcentral import FakeConnections, FakeRingCentral

RULES = EndRules(quiet=3.0, handover=30.0, stale=14_400.0, window=120.0)


class Intake:
    """Stores deliveries as the inbox does, folds them, and lets time pass."""

    def __init__(self, database: Database, clock: FakeClock, settings: Settings) -> None:
        self.database = database
        self.clock = clock
        self.ringcentral = FakeRingCentral(clock)
        self.folder = Folder(work_context(database, clock), RULES)
        self.ends = EndWatch(
            accounts_context(
                database,
                clock,
                FakeConnections(self.ringcentral, settings, database, clock),
                replica="one",
                lease_seconds=15.0,
            ),
            RULES,
        )

    async def store(self, payloads: Iterable[Any]) -> None:
        async with self.database.write() as db:
            for payload in payloads:
                about = peek(payload)
                row = {
                    "account_id": about.account_id,
                    "uuid": about.uuid,
                    "received_at": received_at(payload)
                    if isinstance(payload, dict) and "timestamp" in payload
                    else self.clock.now(),
                    "telephony_session_id": about.telephony_session_id,
                    "raw": json.dumps(payload).encode(),
                }
                known = select(deliveries.c.uuid).where(
                    deliveries.c.uuid == about.uuid, deliveries.c.account_id == about.account_id
                )
                if await db.scalar(known) is None:
                    await db.execute(deliveries.insert().values(row))

    async def fold(self, payloads: Iterable[Any] = ()) -> None:
        await self.store(payloads)
        while await self.folder.step() == 0.0:
            pass

    async def pass_time(self, seconds: float) -> float | None:
        self.clock.advance(seconds)
        return await self.ends.step()

    async def play(self, payloads: list[dict[str, Any]]) -> None:
        """Deliver a whole call in order and wait until it has been quiet for long enough."""
        self.clock.set(max(self.clock.now(), *(received_at(payload) for payload in payloads)))
        await self.fold(payloads)
        await self.pass_time(3.1)

    async def calls(self) -> list[Call]:
        async with self.database.read() as db:
            return [
                store.read_row(row)
                for row in await db.execute(select(calls).order_by(calls.c.telephony_session_id))
            ]

    async def events(self, call: Call) -> list[str]:
        async with self.database.read() as db:
            query = select(timeline.c.type).where(timeline.c.call_id == call.call_id).order_by(timeline.c.seq)
            return list(await db.scalars(query))

    async def notes_on_deliveries(self) -> dict[str, str | None]:
        async with self.database.read() as db:
            rows = await db.execute(select(deliveries.c.uuid, deliveries.c.fold_note, deliveries.c.folded_at))
            return {row.uuid: row.fold_note if row.folded_at else "unfolded" for row in rows}


@pytest.fixture
def intake(database: Database, clock: FakeClock, make_settings: Any) -> Intake:
    credentials = {"rc_client_id": "id", "rc_client_secret": "secret", "rc_jwt": "jwt"}
    return Intake(database, clock, make_settings(**credentials))
