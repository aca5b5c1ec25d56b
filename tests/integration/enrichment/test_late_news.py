"""What comes to be known of a call after its record: denied sound, late recordings, clashing names, moved ends."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Row

from app.calls import recordings, store
from app.calls.ledger import open_ledger
from app.calls.model import NO_SESSION
from app.calls.recordings import NOT_THERE
from app.enrichment.readings import Reader
from app.enrichment.recording_keeper import RecordingKeeper, RecordingPlan, take_not_found
from app.ids import AccountId
from tests.factories_calls import ACCOUNT
from tests.integration.enrichment.conftest import PLAN, Desk
from tests.integration.enrichment.test_readings import detailed, read_for

RECORDING = {"id": "77", "type": "Automatic", "contentUri": "https://media.ringcentral.com/77/content"}


async def recording(desk: Desk) -> Row[Any]:
    async with desk.database.read() as db:
        (row,) = await recordings.load(db, ACCOUNT, "77")
    return row


async def read_beside_others(desk: Desk, *numbers: int) -> None:
    """Calls of the same time become due: the window that they are sought in shows the first one again."""
    began = (await desk.call()).started_at
    for number in numbers:
        await desk.end_call(number, read_at=desk.clock.now(), started_at=began)
    await desk.reader.step()


async def test_sound_that_ringcentral_denied_is_not_taken_to_be_there_by_its_record_again(desk: Desk) -> None:
    plan = replace(PLAN, insights_after=3600.0)
    desk.reader = Reader(desk.database, desk.clock, desk.connections, plan, page_size=1000)
    await desk.end_call()
    desk.ringcentral.log = [detailed(desk, recording=RECORDING)]
    desk.clock.advance(121)
    await read_for(desk, 120)
    row = await recording(desk)
    assert (row.state, (await desk.call()).stage) == ("ready", "reconciled"), "insights are waited for"
    async with (
        desk.database.write() as db,
        open_ledger(db, AccountId(ACCOUNT), desk.clock.now()) as ledger,
    ):
        await take_not_found(ledger, "77", [row])

    await read_beside_others(desk, 2, 3)
    row = await recording(desk)
    assert (row.state, row.attempts, row.problem) == ("pending", 0, NOT_THERE)
    await RecordingKeeper(desk.database, desk.clock, desk.connections, RecordingPlan()).step()
    await read_beside_others(desk, 4, 5)
    row = await recording(desk)
    assert (row.state, row.attempts, row.problem) == ("pending", 1, NOT_THERE)
    assert "window" in desk.ringcentral.asked


async def test_of_nameless_calls_whose_records_say_one_key_only_one_gets_it(desk: Desk) -> None:
    for number in (1, 2, 3):
        key = f"{NO_SESSION}{1000 + number}"
        await desk.end_call(number, telephony_session_id=key, session_id=str(1000 + number))
    await desk.end_call(4, read_at=None)
    await desk.end_call(5)
    claims = {1: "s-9", 2: "s-9", 3: "s-4"}
    desk.ringcentral.log = [detailed(desk, one, telephonySessionId=key) for one, key in claims.items()]
    desk.ringcentral.log.append(detailed(desk, 5))
    desk.clock.advance(121)
    await desk.reader.step()
    assert (await desk.call(5)).stage == "reconciled", "they hold up nobody"
    async with desk.database.read() as db:
        named = {
            str(one): await store.find_call(db, AccountId(ACCOUNT), str(one)) for one in (1001, 1002, 1003)
        }
    assert {call.stage for call in named.values() if call} == {"reconciled"}
    keys = [call.telephony_session_id for call in named.values() if call]
    assert keys == ["s-9", f"{NO_SESSION}1002", f"{NO_SESSION}1003"]
