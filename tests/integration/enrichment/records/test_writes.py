"""Records are written in few statements: each update of a call copies its row and all entries in indexes."""

from typing import Any

import pytest

from app.enrichment.call_log.ingest import ingest
from app.enrichment.call_log.slices import sort_by_call
from app.ids import AccountId
from app.ringcentral.models import CallRecord, read_call_record
from tests.factories_calls import ACCOUNT
from tests.fakes.desk import PLAN, Desk
from tests.fakes.statements import counted
from tests.integration.enrichment.call_log.test_reader import detailed

RECORDING = {"id": "77", "type": "Automatic", "contentUri": "https://media.ringcentral.com/77/content"}
VOICEMAIL = {"id": "88", "type": "VoiceMail", "uri": "https://x.example/extension/711000101/message-store/88"}


@pytest.mark.parametrize("part", [{}, {"recording": RECORDING}, {"message": VOICEMAIL}])
async def test_a_record_updates_the_row_of_its_call_once(desk: Desk, part: dict[str, Any]) -> None:
    await desk.end_call()
    desk.clock.advance(121)
    read = read_call_record(detailed(desk, **part))
    assert isinstance(read, CallRecord)
    now = desk.clock.now()
    with counted(desk.database) as statements:
        await ingest(
            desk.database, desk.clock, PLAN, AccountId(ACCOUNT), sort_by_call([read]), now, grace=None
        )
    call = await desk.call()
    assert call.stage == "reconciled"
    assert call.readiness["voicemail"]["state"] == ("pending" if "message" in part else "none")
    assert len([one for one in statements if one.startswith("UPDATE calls ")]) == 1
