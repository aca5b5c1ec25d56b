"""The client with every status that RingCentral is known to return."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import respx
from structlog.testing import capture_logs

from app.errors import (
    CredentialsRefused,
    ForeignHost,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    RingCentralUnreachable,
)
from app.ids import RecordId, SessionId, TelephonySessionId
from app.ringcentral.auth import MemoryTokenStore
from app.ringcentral.client import RingCentralClient, connect
from app.ringcentral.models import RecordsPage
from app.ringcentral.ports import Priority, Silence
from app.ringcentral.protocol.errors import SyncTokenRefused
from app.ringcentral.protocol.records import decode_records_page
from app.ringcentral.sending import LARGE_BYTES
from app.ringcentral.transport import ClientConfig
from app.ringcentral.wire import Response
from tests.fakes.clock import FakeClock
from tests.unit.ringcentral.conftest import AUTH, CONFIG, MEDIA, SERVER
from tests.unit.ringcentral.doubles import NOON, Ledger

ACTIVE_CALLS = "/restapi/v1.0/account/~/active-calls"
CALL_LOG = "/restapi/v1.0/account/~/call-log"
SUBSCRIPTION = "/restapi/v1.0/subscription"
RATES = {
    "X-Rate-Limit-Group": "heavy",
    "X-Rate-Limit-Limit": "10",
    "X-Rate-Limit-Remaining": "7",
    "X-Rate-Limit-Window": "60",
}


def page(*records: dict[str, object], **fields: object) -> httpx.Response:
    return httpx.Response(
        200, json={"records": list(records), "paging": {"page": 1, "perPage": 100}} | fields, headers=RATES
    )


def error(
    status: int, code: str, top: str | None = None, headers: dict[str, str] | None = None, **extra: str
) -> httpx.Response:
    inner = {"errorCode": code, "message": f"[{code}]"} | extra
    return httpx.Response(
        status, json={"errorCode": top or code, "message": "m", "errors": [inner]}, headers=headers
    )


async def test_active_calls_are_requested_as_the_api_description_says(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    route = ringcentral.get(ACTIVE_CALLS).mock(return_value=page({"id": "r1", "sessionId": 12}))
    answer = await client.fetch_active_calls_page(2, 500, deadline=NOON + timedelta(seconds=5))
    assert [record.id for record in answer.records] == ["r1"]
    sent = route.calls.last.request
    assert dict(sent.url.params) == {"view": "Detailed", "page": "2", "perPage": "500"}
    assert sent.headers["authorization"] == "Bearer token-1"
    assert sent.headers["accept"] == "application/json"
    assert sent.headers["user-agent"].startswith("Aftercall/")
    assert budget.acquired[-1] == ("Heavy", Priority.POLL, NOON + timedelta(seconds=5))


async def test_a_page_records_when_its_request_was_sent(
    client: RingCentralClient,
    ringcentral: respx.MockRouter,
    budget: Ledger,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acquire = budget.acquire

    async def wait_for_a_turn(*asked: Any, **named: Any) -> Any:
        clock.advance(20)
        return await acquire(*asked, **named)

    def answer_late(_: httpx.Request) -> httpx.Response:
        clock.advance(7)
        return page({"id": "r1"})

    await client.fetch_token()
    monkeypatch.setattr(budget, "acquire", wait_for_a_turn)
    ringcentral.get(ACTIVE_CALLS).mock(side_effect=answer_late)
    began = clock.now()
    answer = await client.fetch_active_calls_page(1, 100)
    assert answer.sent_at == began + timedelta(seconds=20)


async def test_a_large_response_is_decoded_off_the_event_loop(
    client: RingCentralClient, ringcentral: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    ringcentral.get(ACTIVE_CALLS).mock(return_value=page({"id": "r1", "note": "x" * LARGE_BYTES}))
    loop, went_on = asyncio.get_running_loop(), threading.Event()

    def decode_slowly(answer: Response) -> RecordsPage:
        loop.call_soon_threadsafe(went_on.set)
        assert went_on.wait(5), "the loop stands still"
        return decode_records_page(answer)

    monkeypatch.setattr("app.ringcentral.protocol.records.decode_records_page", decode_slowly)
    assert [record.id for record in (await client.fetch_active_calls_page(1, 100)).records] == ["r1"]


async def test_an_extension_has_its_own_active_calls(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    route = ringcentral.get("/restapi/v1.0/account/~/extension/711000101/active-calls").mock(
        return_value=page()
    )
    await client.fetch_active_calls_page(1, 100, extension_id="711000101")  # type: ignore[arg-type]
    assert route.called


async def test_rate_headers_reach_the_budget(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    ringcentral.get(ACTIVE_CALLS).mock(return_value=page())
    await client.fetch_active_calls_page(1, 100)
    outcome = budget.settled[1]
    assert (outcome.status, outcome.was_sent, outcome.penalty) == (200, True, None)
    assert (outcome.rates.group, outcome.rates.limit, outcome.rates.remaining) == ("Heavy", 10, 7)
    assert outcome.rates.window_seconds == 60.0


async def test_an_expired_token_is_renewed_once_and_the_request_repeated_with_a_slot_of_its_own(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    route = ringcentral.get(ACTIVE_CALLS).mock(side_effect=[error(401, "OAU-128"), page({"id": "r1"})])
    assert (await client.fetch_active_calls_page(1, 100)).records
    assert [call.request.headers["authorization"] for call in route.calls] == [
        "Bearer token-1",
        "Bearer token-2",
    ]
    assert budget.groups == ["Auth", "Heavy", "Auth", "Heavy"]
    assert budget.statuses == [200, 401, 200, 200]


async def test_a_fresh_token_that_is_refused_too_ends_the_attempt(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    route = ringcentral.get(ACTIVE_CALLS).mock(return_value=error(401, "OAU-213", top="TokenInvalid"))
    with pytest.raises(CredentialsRefused) as refusal:
        await client.fetch_active_calls_page(1, 100)
    assert refusal.value.code == "OAU-213"
    assert route.call_count == 2
    assert ringcentral["token"].call_count == 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [("OAU-121", CredentialsRefused), ("CMN-405", RequestRefused), ("OAU-151", RequestRefused)],
)
async def test_a_401_that_a_new_token_cannot_fix_renews_nothing(
    client: RingCentralClient, ringcentral: respx.MockRouter, code: str, kind: type[Exception]
) -> None:
    ringcentral.get(ACTIVE_CALLS).mock(return_value=error(401, code))
    with pytest.raises(kind):
        await client.fetch_active_calls_page(1, 100)
    assert ringcentral["token"].call_count == 1


@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "30"}, 30.0), ({}, 60.0)])
async def test_a_429_is_raised_at_once_and_never_retried(
    client: RingCentralClient,
    ringcentral: respx.MockRouter,
    budget: Ledger,
    clock: FakeClock,
    headers: dict[str, str],
    seconds: float,
) -> None:
    route = ringcentral.get(ACTIVE_CALLS).mock(return_value=error(429, "CMN-301", headers=headers))
    with pytest.raises(RateLimited) as limited:
        await client.fetch_active_calls_page(1, 100)
    assert route.call_count == 1
    assert clock.slept == []
    assert (
        NOON + timedelta(seconds=seconds) < limited.value.retry_at < NOON + timedelta(seconds=seconds * 1.1)
    )
    penalty = budget.settled[1].penalty
    assert penalty is not None
    assert (penalty.reach, penalty.until) == (Silence.BUCKET, limited.value.retry_at)


async def test_without_a_slot_nothing_is_sent(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    route = ringcentral.get(ACTIVE_CALLS).mock(return_value=page())
    await client.fetch_token()
    budget.empty_until = NOON + timedelta(seconds=42)
    with pytest.raises(RateLimited) as limited:
        await client.fetch_active_calls_page(1, 100)
    assert limited.value.retry_at == NOON + timedelta(seconds=42)
    assert not route.called


@pytest.mark.parametrize("code", ["CMN-401", "CMN-408"])
async def test_a_missing_permission_is_named(
    client: RingCentralClient, ringcentral: respx.MockRouter, code: str
) -> None:
    refused = error(403, code, top="InsufficientPermissions", permissionName="ReadCompanyCallLog")
    route = ringcentral.get(ACTIVE_CALLS).mock(return_value=refused)
    with pytest.raises(PermissionMissing) as missing:
        await client.fetch_active_calls_page(1, 100)
    assert (missing.value.code, missing.value.permission) == (code, "ReadCompanyCallLog")
    assert route.call_count == 1


async def test_a_server_error_is_retried_after_a_pause_that_doubles(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger, clock: FakeClock
) -> None:
    answers = [httpx.Response(500), error(503, "CMN-201"), page({"id": "r1"})]
    ringcentral.get(ACTIVE_CALLS).mock(side_effect=answers)
    assert (await client.fetch_active_calls_page(1, 100)).records
    assert clock.slept == [2.0, 4.0]
    assert budget.groups == ["Auth", "Heavy", "Heavy", "Heavy"]


async def test_retry_after_of_a_503_is_respected(
    client: RingCentralClient, ringcentral: respx.MockRouter, clock: FakeClock
) -> None:
    busy = error(503, "CMN-201", headers={"Retry-After": "7.5"})
    ringcentral.get(ACTIVE_CALLS).mock(side_effect=[busy, page()])
    await client.fetch_active_calls_page(1, 100)
    assert clock.slept == [7.5]


async def test_the_number_of_tries_is_limited(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    route = ringcentral.get(ACTIVE_CALLS).mock(return_value=error(500, "CMN-203"))
    with pytest.raises(RingCentralUnreachable) as unreachable:
        await client.fetch_active_calls_page(1, 100)
    assert (unreachable.value.status, unreachable.value.code) == (500, "CMN-203")
    assert route.call_count == 3


async def test_no_pause_reaches_beyond_the_deadline(
    client: RingCentralClient, ringcentral: respx.MockRouter, clock: FakeClock
) -> None:
    route = ringcentral.get(ACTIVE_CALLS).mock(return_value=httpx.Response(502))
    with pytest.raises(RingCentralUnreachable):
        await client.fetch_active_calls_page(1, 100, deadline=NOON + timedelta(seconds=3))
    assert route.call_count == 2
    assert clock.slept == [2.0]


@pytest.mark.parametrize(
    ("failure", "was_sent"),
    [
        (httpx.ReadTimeout("slow"), True),
        (httpx.RemoteProtocolError("cut"), True),
        (httpx.ConnectError("down"), False),
    ],
)
async def test_a_request_without_a_response_settles_its_slot_and_is_retried(
    client: RingCentralClient,
    ringcentral: respx.MockRouter,
    budget: Ledger,
    failure: Exception,
    was_sent: bool,
) -> None:
    ringcentral.get(ACTIVE_CALLS).mock(side_effect=[failure, page({"id": "r1"})])
    assert (await client.fetch_active_calls_page(1, 100)).records
    assert (budget.settled[1].status, budget.settled[1].was_sent) == (None, was_sent)
    assert budget.statuses == [200, None, 200]


async def test_a_slow_response_ends_with_the_timeout(
    http: httpx.AsyncClient,
    store: MemoryTokenStore,
    budget: Ledger,
    clock: FakeClock,
    ringcentral: respx.MockRouter,
) -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    ringcentral.get(ACTIVE_CALLS).mock(side_effect=never)
    config = ClientConfig(server_url=SERVER, media_url=MEDIA, timeout_seconds=0.01, tries=1)
    client = connect(http, config, AUTH, store=store, budget=budget, clock=clock)
    with pytest.raises(RingCentralUnreachable):
        await client.fetch_active_calls_page(1, 100)
    assert budget.statuses == [200, None]


async def test_a_cancelled_request_still_settles_its_slot(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    asked = asyncio.Event()

    async def never(_: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    ringcentral.get(ACTIVE_CALLS).mock(side_effect=never)
    task = asyncio.create_task(client.fetch_active_calls_page(1, 100))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (budget.settled[1].status, budget.settled[1].was_sent) == (None, True)


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example.net/x",
        "http://rc.example.com/x",
        "https://rc.example.com:8443/x",
        "//evil.example.net/x",
        "https://u:p@rc.example.com/x",
    ],
)
async def test_the_token_never_goes_to_a_foreign_host(
    client: RingCentralClient, ringcentral: respx.MockRouter, location: str
) -> None:
    ringcentral.get(ACTIVE_CALLS).mock(return_value=httpx.Response(302, headers={"Location": location}))
    with pytest.raises(ForeignHost):
        await client.fetch_active_calls_page(1, 100)
    assert len(ringcentral.calls) == 2


async def test_a_redirect_within_the_configured_hosts_is_followed_with_a_slot_of_its_own(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    ringcentral.get(ACTIVE_CALLS).mock(
        return_value=httpx.Response(307, headers={"Location": "/moved?page=1"})
    )
    moved = ringcentral.get("/moved").mock(return_value=page({"id": "r1"}))
    assert (await client.fetch_active_calls_page(1, 100)).records
    assert str(moved.calls.last.request.url) == f"{SERVER}/moved?page=1"
    assert budget.statuses == [200, 307, 200]


async def test_a_redirect_loop_ends(client: RingCentralClient, ringcentral: respx.MockRouter) -> None:
    route = ringcentral.get(ACTIVE_CALLS).mock(
        return_value=httpx.Response(302, headers={"Location": ACTIVE_CALLS})
    )
    with pytest.raises(RequestRefused):
        await client.fetch_active_calls_page(1, 100)
    assert route.call_count == 4


@pytest.mark.parametrize(
    "body", [b"", b"<html>Welcome</html>", b"\xff\xfe\x00", b"[]", b'{"records": {}}', b"{" * 5000]
)
async def test_an_unusable_200_is_unreachable_and_not_retried(
    client: RingCentralClient, ringcentral: respx.MockRouter, body: bytes
) -> None:
    route = ringcentral.get(ACTIVE_CALLS).mock(return_value=httpx.Response(200, content=body))
    with pytest.raises(RingCentralUnreachable):
        await client.fetch_active_calls_page(1, 100)
    assert route.call_count == 1


async def test_a_page_of_html_from_a_gateway_is_retried(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    gateway = httpx.Response(502, html="<h1>Bad gateway</h1>")
    ringcentral.get(ACTIVE_CALLS).mock(side_effect=[gateway, page({"id": "r1"})])
    assert (await client.fetch_active_calls_page(1, 100)).records


async def test_a_response_over_the_size_limit_is_abandoned(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    ringcentral.get(ACTIVE_CALLS).mock(
        return_value=httpx.Response(200, content=b" " * (CONFIG.answer_limit_bytes + 1))
    )
    with pytest.raises(RingCentralUnreachable, match="larger"):
        await client.fetch_active_calls_page(1, 100)
    assert len(budget.settled) == 2


async def test_a_session_is_requested_with_view_only_and_other_records_are_dropped(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    answer = page({"id": "r1", "sessionId": "12"}, {"id": "r2", "sessionId": "13"})
    route = ringcentral.get(CALL_LOG).mock(return_value=answer)
    found = await client.fetch_call_log_by_session(SessionId("12"))
    assert [record.id for record in found.records] == ["r1"]
    assert dict(route.calls.last.request.url.params) == {"sessionId": "12", "view": "Detailed"}


@pytest.mark.parametrize("session_id", ["0", "00", "", "s-a0c14", "12 or 13", "١٢"])
async def test_an_id_that_identifies_no_call_is_never_sent_as_a_session(
    client: RingCentralClient, ringcentral: respx.MockRouter, session_id: str
) -> None:
    with pytest.raises(RequestRefused):
        await client.fetch_call_log_by_session(SessionId(session_id))
    assert len(ringcentral.calls) == 0


async def test_clg_110_drops_the_parameter_that_it_names(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    said = "Parameter [sessionId] is not allowed together with parameter [view]"
    refused = httpx.Response(
        400,
        json={
            "errorCode": "CLG-110",
            "message": said,
            "errors": [{"errorCode": "CLG-110", "message": said, "parameterName": "sessionId"}],
        },
    )
    route = ringcentral.get(CALL_LOG).mock(side_effect=[refused, page({"id": "r1", "sessionId": "12"})])
    assert (await client.fetch_call_log_by_session(SessionId("12"))).records
    assert dict(route.calls.last.request.url.params) == {"sessionId": "12"}


async def test_clg_110_about_something_else_is_an_error(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    route = ringcentral.get(CALL_LOG).mock(return_value=error(400, "CLG-110", parameterName="sessionId"))
    with pytest.raises(RequestRefused):
        await client.fetch_call_log_by_session(SessionId("12"))
    assert route.call_count == 1


async def test_a_window_is_requested_by_start_time_in_whole_seconds(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    route = ringcentral.get(CALL_LOG).mock(return_value=page())
    await client.fetch_call_log_window(
        NOON + timedelta(seconds=1.9), NOON + timedelta(seconds=60.1), page=3, per_page=250
    )
    assert dict(route.calls.last.request.url.params) == {
        "dateFrom": "2026-03-10T12:00:01Z",
        "dateTo": "2026-03-10T12:01:01Z",
        "view": "Detailed",
        "type": "Voice",
        "page": "3",
        "perPage": "250",
    }


async def test_many_records_are_read_in_chunks_and_the_limit_of_the_server_is_learnt(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    chunks: list[int] = []

    def bulk(request: httpx.Request) -> httpx.Response:
        ids = request.url.path.rpartition("/")[2].split(",")
        chunks.append(len(ids))
        if len(ids) > 20:
            text = "Bulk request is limited to 20 entries"
            return httpx.Response(400, json={"errorCode": "CMN-106", "message": text})
        if len(ids) == 1:
            return httpx.Response(200, json={"id": ids[0]})
        items = [{"resourceId": name, "status": 200, "body": {"id": name}} for name in ids]
        return httpx.Response(207, json=items)

    ringcentral.get(path__startswith=f"{CALL_LOG}/").mock(side_effect=bulk)
    ids = [RecordId(f"r{number}") for number in range(41)]
    items = await client.fetch_call_records(ids)
    assert [item.record.id for item in items if item.record] == ids
    assert chunks == [30, 20, 20, 1]


async def test_a_single_unknown_record_is_missing_without_an_error(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    ringcentral.get(f"{CALL_LOG}/nope").mock(return_value=error(404, "CMN-102"))
    [item] = await client.fetch_call_records([RecordId("nope")])
    assert item.is_missing
    assert item.record is None


async def test_a_recording_that_is_not_ready_is_none(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    ready = {"id": 3019664700, "contentUri": f"{MEDIA}/x", "contentType": "audio/mpeg", "duration": 92}
    ringcentral.get("/restapi/v1.0/account/~/recording/3019664700").mock(
        side_effect=[error(404, "CMN-102"), httpx.Response(200, json=ready)]
    )
    assert await client.fetch_recording("3019664700") is None
    recording = await client.fetch_recording("3019664700")
    assert recording is not None
    assert (recording.id, recording.content_type, recording.duration_seconds) == (
        "3019664700",
        "audio/mpeg",
        92.0,
    )


async def test_a_session_that_is_over_is_none_and_costs_nothing_of_heavy(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    ringcentral.get("/restapi/v1.0/account/~/telephony/sessions/s-1").mock(return_value=error(404, "TAS-101"))
    assert await client.fetch_session(TelephonySessionId("s-1")) is None
    assert budget.groups == ["Auth", "Light"]


@pytest.mark.parametrize("name", ["..", ".", ""])
async def test_an_id_cannot_leave_its_path(
    client: RingCentralClient, ringcentral: respx.MockRouter, name: str
) -> None:
    with pytest.raises(RequestRefused):
        await client.fetch_session(TelephonySessionId(name))
    assert len(ringcentral.calls) == 0


async def test_an_id_with_slashes_stays_one_segment(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    route = ringcentral.get(path__startswith="/restapi").mock(return_value=httpx.Response(404))
    await client.fetch_session(TelephonySessionId("../../x?y#z"))
    assert route.calls.last.request.url.raw_path.endswith(b"/telephony/sessions/..%2F..%2Fx%3Fy%23z")


async def test_a_subscription_is_created_with_its_secret_and_comes_back_as_it_is(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    made = {
        "id": "7d2c",
        "status": "Active",
        "eventFilters": ["/restapi/v1.0/account/908070001/telephony/sessions"],
        "disabledFilters": [
            {"filter": "/restapi/v1.0/account/~/presence", "reason": "SUB-403", "message": "no"}
        ],
        "expirationTime": "2026-03-17T17:58:02.101Z",
        "expiresIn": 604799,
        "deliveryMode": {"transportType": "WebHook", "address": "https://hook.example.com/rc"},
    }
    route = ringcentral.post(SUBSCRIPTION).mock(return_value=httpx.Response(200, json=made))
    filters = ["/restapi/v1.0/account/~/telephony/sessions"]
    found = await client.create_subscription(filters, "https://hook.example.com/rc", "hook-secret", 604800)
    assert json.loads(route.calls.last.request.content) == {
        "eventFilters": filters,
        "deliveryMode": {
            "transportType": "WebHook",
            "address": "https://hook.example.com/rc",
            "verificationToken": "hook-secret",
        },
        "expiresIn": 604800,
    }
    assert (found.id, found.is_active, found.is_webhook) == ("7d2c", True, True)
    assert [item.reason for item in found.disabled_filters] == ["SUB-403"]
    assert budget.groups[-1] == "Medium"


async def test_a_creation_without_a_response_is_not_retried(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    route = ringcentral.post(SUBSCRIPTION).mock(side_effect=httpx.ReadTimeout("slow"))
    with pytest.raises(RingCentralUnreachable):
        await client.create_subscription(["f"], "https://hook.example.com/rc", "hook-secret", 60)
    assert route.call_count == 1


async def test_a_creation_gets_the_long_timeout(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    route = ringcentral.post(SUBSCRIPTION).mock(return_value=httpx.Response(200, json={"id": "s"}))
    await client.create_subscription(["f"], "https://hook.example.com/rc", "hook-secret", 60)
    assert route.calls.last.request.extensions["timeout"]["read"] == CONFIG.slow_timeout_seconds


async def test_a_failed_handshake_has_its_code(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    ringcentral.post(SUBSCRIPTION).mock(return_value=error(400, "SUB-525"))
    with pytest.raises(RequestRefused) as refused:
        await client.create_subscription(["f"], "https://hook.example.com/rc", "hook-secret", 60)
    assert refused.value.code == "SUB-525"


async def test_subscriptions_are_listed_renewed_updated_and_deleted(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    one = {"id": "s1", "status": "Active", "deliveryMode": {"transportType": "WebSocket"}}
    ringcentral.get(SUBSCRIPTION).mock(return_value=httpx.Response(200, json={"records": [one, {}, 3]}))
    ringcentral.post(f"{SUBSCRIPTION}/s1/renew").mock(return_value=httpx.Response(200, json=one))
    update = ringcentral.put(f"{SUBSCRIPTION}/s1").mock(return_value=httpx.Response(200, json=one))
    ringcentral.delete(f"{SUBSCRIPTION}/s1").mock(return_value=httpx.Response(204))
    [listed] = await client.list_subscriptions()
    assert (listed.id, listed.is_webhook, listed.address) == ("s1", False, None)
    assert await client.renew_subscription("s1") is not None
    assert await client.update_subscription("s1", ["f"], 60) is not None
    assert json.loads(update.calls.last.request.content) == {"eventFilters": ["f"], "expiresIn": 60}
    assert await client.delete_subscription("s1")
    assert budget.groups[1:] == ["Light", "Light", "Medium", "Medium"]


async def test_a_missing_subscription_is_none(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    ringcentral.route(path__startswith=SUBSCRIPTION).mock(return_value=error(404, "SUB-507"))
    assert await client.renew_subscription("s1") is None
    assert await client.update_subscription("s1", ["f"]) is None
    assert not await client.delete_subscription("s1")


async def test_audio_is_streamed_from_the_media_host(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    sound = httpx.Response(206, content=b"abc", headers={"Content-Type": "audio/mpeg"})
    route = ringcentral.get(f"{MEDIA}:443/content").mock(side_effect=[error(401, "OAU-128"), sound])
    async with client.stream_recording(f"{MEDIA}:443/content", byte_range="bytes=0-2") as stream:
        assert (stream.status, stream.headers["content-type"]) == (206, "audio/mpeg")
        assert b"".join([chunk async for chunk in stream.chunks]) == b"abc"
    assert route.calls.last.request.headers["range"] == "bytes=0-2"
    assert budget.acquired[-1] == ("Heavy", Priority.CONTENT, None)
    assert budget.statuses == [200, 401, 200, 206]


async def test_audio_on_another_host_is_not_fetched(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    with pytest.raises(ForeignHost) as refusal:
        async with client.stream_recording("https://evil.example.net/content"):
            raise AssertionError
    assert refusal.value.setting == "RC_MEDIA_URL"
    assert [call.request.url.path for call in ringcentral.calls] == ["/restapi/oauth/token"]


async def test_missing_audio_is_refused(client: RingCentralClient, ringcentral: respx.MockRouter) -> None:
    ringcentral.get(f"{MEDIA}/content").mock(return_value=error(404, "CMN-102"))
    with pytest.raises(RequestRefused) as refused:
        async with client.stream_recording(f"{MEDIA}/content"):
            raise AssertionError
    assert refused.value.status == 404


async def test_logs_contain_route_and_request_id_but_no_secrets_and_no_people(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    answer = httpx.Response(200, json={"records": []}, headers={"RCRequestId": "abc-1"})
    ringcentral.get(path__startswith="/restapi/v1.0").mock(side_effect=[httpx.ReadTimeout("slow"), answer])
    with capture_logs() as logs:
        await client.fetch_active_calls_page(1, 100, extension_id="711000101")  # type: ignore[arg-type]
    last = logs[-1]
    assert last["rc_request_id"] == "abc-1"
    assert last["route"] == "/restapi/v1.0/account/{accountId}/extension/{extensionId}/active-calls"
    assert last["status"] == 200
    told = repr(logs)
    assert not any(word in told for word in ("711000101", "token-1", "hidden", "Bearer"))


async def test_redirected_audio_is_fetched_from_configured_hosts_only(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    moved = httpx.Response(302, headers={"Location": f"{MEDIA}/there"})
    foreign = httpx.Response(302, headers={"Location": "https://bucket.example.net/there"})
    ringcentral.get(f"{MEDIA}/content").mock(side_effect=[moved, foreign])
    ringcentral.get(f"{MEDIA}/there").mock(return_value=httpx.Response(200, content=b"abc"))
    async with client.stream_recording(f"{MEDIA}/content") as stream:
        assert b"".join([chunk async for chunk in stream.chunks]) == b"abc"
    with pytest.raises(ForeignHost):
        async with client.stream_recording(f"{MEDIA}/content"):
            raise AssertionError


async def test_audio_that_never_starts_settles_its_slot(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    ringcentral.get(f"{MEDIA}/content").mock(side_effect=httpx.ConnectTimeout("down"))
    with pytest.raises(RingCentralUnreachable):
        async with client.stream_recording(f"{MEDIA}/content"):
            raise AssertionError
    assert (budget.settled[1].status, budget.settled[1].was_sent) == (None, False)


async def test_audio_that_breaks_off_raises_for_the_reader(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise httpx.ReadError("cut")

    ringcentral.get(f"{MEDIA}/content").mock(return_value=httpx.Response(200, content=broken()))
    async with client.stream_recording(f"{MEDIA}/content") as stream:
        assert await anext(stream.chunks) == b"abc"
        with pytest.raises(RingCentralUnreachable):
            await anext(stream.chunks)
    assert budget.statuses == [200, 200]


@pytest.mark.parametrize(
    "address", ["https://[", "ftp://rc.example.com/x", "https://rc.example.com.evil.net/", "x"]
)
async def test_audio_at_an_unknown_address_is_foreign(
    client: RingCentralClient, ringcentral: respx.MockRouter, address: str
) -> None:
    with pytest.raises(ForeignHost):
        async with client.stream_recording(address):
            raise AssertionError


async def test_a_bulk_limit_below_one_id_is_an_error(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    route = ringcentral.get(path__startswith=f"{CALL_LOG}/").mock(return_value=error(400, "CMN-106"))
    with pytest.raises(RequestRefused):
        await client.fetch_call_records([RecordId("a"), RecordId("b"), RecordId("c")])
    assert route.call_count == 2


async def test_a_refused_bulk_read_is_not_a_missing_record(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    ringcentral.get(path__startswith=f"{CALL_LOG}/").mock(return_value=error(404, "CMN-120"))
    with pytest.raises(RequestRefused):
        await client.fetch_call_records([RecordId("a"), RecordId("b")])


async def test_a_refusal_other_than_404_does_not_mean_absence(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    ringcentral.post(f"{SUBSCRIPTION}/s1/renew").mock(return_value=error(403, "SUB-406"))
    with pytest.raises(RequestRefused):
        await client.renew_subscription("s1")


async def test_a_tenant_without_extract_sync_returns_none(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    ringcentral.get("/restapi/v1.0/account/~/call-log-extract-sync").mock(return_value=error(404, "CMN-120"))
    assert await client.fetch_call_log_changes(None) is None


async def test_changes_are_followed_by_token(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    route = ringcentral.get("/restapi/v1.0/account/~/call-log-extract-sync").mock(
        return_value=httpx.Response(200, json={"records": [{"id": "r1"}], "syncInfo": {"syncToken": "t2"}})
    )
    read = await client.fetch_call_log_changes("t1")
    assert read is not None
    assert (read.token, [record.id for record in read.records]) == ("t2", ["r1"])
    assert dict(route.calls.last.request.url.params) == {"syncType": "ISync", "syncToken": "t1"}


async def test_too_many_changes_require_a_new_start(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    ringcentral.get("/restapi/v1.0/account/~/call-log-extract-sync").mock(return_value=error(400, "CLG-104"))
    with pytest.raises(SyncTokenRefused):
        await client.fetch_call_log_changes("t1")
