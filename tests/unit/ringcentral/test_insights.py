"""Insights, as the client requests them."""

import httpx
import pytest
import respx

from app.errors import PermissionMissing, RequestRefused
from app.ids import TelephonySessionId
from app.ringcentral.client import RingCentralClient
from app.ringcentral.ports import Priority
from tests.unit.ringcentral.doubles import Ledger

SESSION = TelephonySessionId("s-1")
BY_SESSION = "/ai/ringsense/v1/public/accounts/~/domains/pbx/sessions/s-1/insights"
BY_RECORDING = "/ai/ringsense/v1/public/accounts/~/domains/pbx/records/3019664700/insights"
RECORD = {"sourceSessionId": "s-1", "sourceRecordId": "3019664700", "insights": {}}


def refusal(status: int, code: str) -> httpx.Response:
    inner = {"errorCode": code, "message": "m", "permissionName": "RingSense"}
    return httpx.Response(status, json={"errorCode": code, "message": "m", "errors": [inner]})


async def test_session_insights_are_requested_in_the_light_group_with_low_priority(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    route = ringcentral.get(BY_SESSION).mock(return_value=httpx.Response(200, json={"records": [RECORD]}))
    found = await client.fetch_session_insights(SESSION)
    assert found is not None
    assert [item.recording_id for item in found] == ["3019664700"]
    assert "insightTypes=Sentiment" in str(route.calls.last.request.url)
    assert budget.acquired[-1][:2] == ("Light", Priority.METADATA)


async def test_insights_of_a_recording_are_requested_by_its_id(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    ringcentral.get(BY_RECORDING).mock(return_value=httpx.Response(200, json=RECORD))
    found = await client.fetch_record_insights("3019664700")
    assert found is not None
    assert found.session_id == SESSION


async def test_insights_that_do_not_exist_yet_are_none(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    ringcentral.get(BY_SESSION).mock(return_value=refusal(404, "CMN-102"))
    ringcentral.get(BY_RECORDING).mock(return_value=refusal(404, "CMN-102"))
    assert await client.fetch_session_insights(SESSION) is None
    assert await client.fetch_record_insights("3019664700") is None


@pytest.mark.parametrize(("code", "kind"), [("CMN-401", PermissionMissing), ("AGW-403", RequestRefused)])
async def test_insights_without_licence_or_scope_are_refused_without_retry(
    client: RingCentralClient, ringcentral: respx.MockRouter, code: str, kind: type[Exception]
) -> None:
    route = ringcentral.get(BY_SESSION).mock(return_value=refusal(403, code))
    with pytest.raises(kind) as error:
        await client.fetch_session_insights(SESSION)
    assert getattr(error.value, "status", None) == 403
    assert route.call_count == 1
