"""Bodies of folded deliveries are stored small, and everything that reads them sees what came."""

import json

from sqlalchemy import LargeBinary, func, select, type_coerce

from app.db.tables import deliveries
from app.ids import AccountId
from app.values.packed_bodies import pack_body
from app.webhooks.folding.stored_facts import read_stored_facts
from tests.factories import ACCOUNT, delivery, inbound_answered
from tests.integration.webhooks.conftest import Intake


async def stored_bodies(intake: Intake) -> dict[str, tuple[bytes, bytes]]:
    """Return each body as it is read, and its bytes as they are in the database, by uuid."""
    column = deliveries.c
    query = select(column.uuid, column.raw, type_coerce(column.raw, LargeBinary).label("bytes"))
    async with intake.database.read() as db:
        return {row.uuid: (row.raw, row.bytes) for row in await db.execute(query)}


async def test_a_body_is_packed_when_its_delivery_is_folded(intake: Intake) -> None:
    payloads = inbound_answered()
    await intake.store(payloads)
    waiting = await stored_bodies(intake)
    assert all(stored == read for read, stored in waiting.values())

    await intake.fold()
    folded = await stored_bodies(intake)
    assert {uuid: read for uuid, (read, _) in folded.items()} == {
        uuid: read for uuid, (read, _) in waiting.items()
    }
    assert all(len(stored) < len(read) / 2 for read, stored in folded.values())
    async with intake.database.read() as db:
        read, facts = await read_stored_facts(db, AccountId(ACCOUNT))
    assert (read, len(facts)) == (len(payloads), 1)


async def test_notes_and_bodies_of_one_batch_reach_their_own_deliveries(intake: Intake) -> None:
    await intake.fold([delivery(uuid="one"), {"uuid": "two", "event": "/unknown", "ownerId": ACCOUNT}])
    notes = await intake.notes_on_deliveries()
    assert notes["one"] is None
    assert sorted(str(note)[:8] for note in notes.values()) == ["None", "ignored:"]
    assert {json.loads(read)["uuid"] for read, _ in (await stored_bodies(intake)).values()} == {"one", "two"}


async def test_a_body_that_looks_packed_is_folded_as_it_came(intake: Intake) -> None:
    disguised = pack_body(json.dumps(delivery(uuid="inner")).encode())
    async with intake.database.write() as db:
        row = {"account_id": ACCOUNT, "uuid": "outer", "received_at": intake.clock.now(), "raw": disguised}
        await db.execute(deliveries.insert().values(row))
    await intake.fold()
    assert await intake.notes_on_deliveries() == {"outer": "ignored: not-json"}
    assert (await stored_bodies(intake))["outer"][0] == disguised
    async with intake.database.read() as db:
        assert await db.scalar(select(func.count()).select_from(deliveries)) == 1
