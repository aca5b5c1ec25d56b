"""The simulator over real HTTP, as a client of RingCentral sees it.

The speed is 100: a visibility delay of 10 s lasts 0.1 s, and tests wait for results. Tests of the times
themselves run at speed 1 and move the clock forward.
"""

import asyncio
import contextlib
import email
import email.policy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.simulator import Simulator, SimulatorSettings, Timing, serving
from app.simulator.delivery.http_client import Poster, UnreachableError, WebhookResponse
from app.simulator.runner import listen, make_server
from tests.conftest import answer_to

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SPEED = 100.0
ACCOUNT = "/restapi/v1.0/account/~"
ACTIVE, CALL_LOG = f"{ACCOUNT}/active-calls", f"{ACCOUNT}/call-log"
SUBSCRIPTION = "/restapi/v1.0/subscription"
SESSIONS = f"{ACCOUNT}/telephony/sessions"
GENEROUS = {"Light": 10_000, "Medium": 10_000, "Heavy": 10_000, "Auth": 10_000}
REAL_TIME = 1.0
"""A speed at which nothing falls due during a test unless the test moves the clock, at any load."""

PLAIN = Timing(provisional_share=0.0, straggler_share=0.0, correction_share=0.0)

Json = dict[str, Any]


def settings(**fields: Any) -> SimulatorSettings:
    timing = replace(PLAIN, retention=10_000.0)
    given: Json = {"port": 0, "media_port": 0, "speed": SPEED, "rate_limits": GENEROUS, "timing": timing}
    return SimulatorSettings(**(given | fields))


@dataclass
class Platform:
    """A running simulator and a client with a token of the administrator."""

    simulator: Simulator
    client: httpx.AsyncClient

    async def log_in(self, jwt: str = "sim-jwt", **form: str) -> httpx.Response:
        given = {"grant_type": JWT_GRANT, "assertion": jwt} | form
        auth = ("sim-client", "sim-secret")
        response = await self.client.post("/restapi/oauth/token", data=given, auth=auth)
        if response.status_code == 200:
            self.client.headers["Authorization"] = f"Bearer {response.json()['access_token']}"
        return response

    async def get(self, path: str, **params: Any) -> Json:
        response = await self.client.get(path, params=params)
        assert response.status_code == 200, response.text
        body: Json = response.json()
        return body

    async def play(self, script: str, **options: Any) -> Json:
        response = await self.client.post("/_sim/calls", json={"script": script} | options)
        assert response.status_code == 200, response.text
        call: Json = response.json()[0]
        return call

    async def faults(self, **switches: Any) -> None:
        response = await self.client.patch("/_sim/faults", json=switches)
        assert response.status_code == 200, response.text

    async def pass_time(self, seconds: float) -> None:
        """Move the clock forward by real seconds."""
        response = await self.client.patch("/_sim/clock", json={"advanceSeconds": seconds})
        assert response.status_code == 200, response.text

    async def ended(self, path: str, count: int = 1, **params: Any) -> list[Json]:
        """Wait for `count` records that are no longer in progress."""

        async def ask() -> list[Json] | None:
            records = (await self.get(path, **params))["records"]
            over = [record for record in records if record["result"] != "In Progress"]
            return over if len(over) >= count else None

        return await answer_to(ask)


@asynccontextmanager
async def platform(**fields: Any) -> AsyncIterator[Platform]:
    async with (
        serving(settings(**fields)) as simulator,
        httpx.AsyncClient(base_url=simulator.links.platform, trust_env=False) as client,
    ):
        here = Platform(simulator, client)
        assert (await here.log_in()).status_code == 200
        yield here


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_platform() -> AsyncIterator[Platform]:
    async with platform() as here:
        yield here


@pytest_asyncio.fixture(loop_scope="module")
async def ringcentral(one_platform: Platform) -> Platform:
    """Return the simulator, reset."""
    one_platform.simulator.reset()
    assert (await one_platform.log_in()).status_code == 200
    return one_platform


@dataclass
class Hook:
    """A webhook address that responds as configured and stores its requests."""

    url: str = ""
    handshake_headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    handshake_body: bytes = b""
    handshake_status: int = 200
    echoes: bool = True
    seconds: float = 0.0
    status: int = 200
    handshakes: int = 0
    requests: list[tuple[dict[str, str], Json]] = field(default_factory=list)

    async def respond(self, request: Request) -> Response:
        body = await request.body()
        if not body:
            self.handshakes += 1
            await asyncio.sleep(self.seconds)
            echo = {"Validation-Token": request.headers["validation-token"]} if self.echoes else {}
            return Response(self.handshake_body, self.handshake_status, self.handshake_headers | echo)
        self.requests.append((dict(request.headers), json.loads(body)))
        return Response(status_code=self.status)

    async def received(self, count: int) -> list[Json]:
        async def ask() -> list[Json] | None:
            return [body for _, body in self.requests] if len(self.requests) >= count else None

        return await answer_to(ask)


class HookServer:
    """Serves the hook of the current test."""

    def __init__(self) -> None:
        self.hook = Hook()

    async def respond(self, request: Request) -> Response:
        return await self.hook.respond(request)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_hook_server() -> AsyncIterator[tuple[HookServer, str]]:
    holder = HookServer()
    app = Starlette(routes=[Route("/rc", holder.respond, methods=["POST"])])
    with listen("127.0.0.1", 0) as listener:
        server: uvicorn.Server = make_server(app)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield holder, f"http://127.0.0.1:{listener.getsockname()[1]}/rc"
        server.should_exit = True
        await task


@pytest.fixture
def hook(one_hook_server: tuple[HookServer, str]) -> Hook:
    holder, url = one_hook_server
    holder.hook = Hook(url)
    return holder.hook


def subscription_to(hook: Hook, *filters: str, **fields: Any) -> Json:
    delivery = {"transportType": "WebHook", "address": hook.url, "verificationToken": "9b1d-example"}
    return {"eventFilters": list(filters) or [SESSIONS], "deliveryMode": delivery} | fields


async def subscribe(here: Platform, hook: Hook, *filters: str, **fields: Any) -> Json:
    response = await here.client.post(SUBSCRIPTION, json=subscription_to(hook, *filters, **fields))
    assert response.status_code == 200, response.text
    body: Json = response.json()
    return body


# Tokens


async def test_a_token_response_has_ringcentrals_fields(ringcentral: Platform) -> None:
    response = await ringcentral.log_in()
    assert {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "refresh_token_expires_in",
        "scope",
        "owner_id",
        "endpoint_id",
    } == set(response.json())
    assert response.headers["RCRequestId"]
    assert response.headers["X-Rate-Limit-Group"] == "auth"


async def test_token_errors_have_the_oauth_form(ringcentral: Platform) -> None:
    response = await ringcentral.log_in("expired-jwt")
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_grant"
    assert response.json()["errors"][0]["errorCode"] == "OAU-210"
    wrong = await ringcentral.client.post("/restapi/oauth/token", data={}, auth=("sim-client", "wrong"))
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")


async def test_a_revoked_token_is_not_found(ringcentral: Platform) -> None:
    token = (await ringcentral.log_in()).json()["access_token"]
    revoked = await ringcentral.client.post(
        "/restapi/oauth/revoke", data={"token": token}, auth=("sim-client", "sim-secret")
    )
    assert revoked.status_code == 200
    refused = await ringcentral.client.get(ACTIVE)
    assert refused.status_code == 401
    assert refused.json()["errorCode"] == "TokenInvalid"
    assert refused.json()["errors"][0]["errorCode"] == "OAU-213"


async def test_tokens_can_be_expired(ringcentral: Platform) -> None:
    await ringcentral.client.post("/_sim/tokens", json={"action": "expire"})
    refused = await ringcentral.client.get(ACTIVE)
    assert (refused.status_code, refused.json()["errorCode"]) == (401, "OAU-128")


async def test_missing_scopes_and_permissions_have_different_errors(ringcentral: Platform) -> None:
    await ringcentral.faults(missingScopes=["ReadCallLog"])
    scope = (await ringcentral.client.get(ACTIVE)).json()
    assert (scope["errorCode"], scope["errors"][0]["errorCode"], scope["permissionName"]) == (
        "InsufficientPermissions",
        "CMN-401",
        "ReadCallLog",
    )
    bought = (await ringcentral.log_in()).json()["scope"].split()
    assert {"ReadCallLog", "ReadCallRecording"} & set(bought) == {"ReadCallRecording"}
    await ringcentral.faults(missingScopes=[])
    await ringcentral.log_in("sim-jwt-limited")
    response = await ringcentral.client.get(ACTIVE)
    assert response.status_code == 403
    assert response.json()["errors"][0]["errorCode"] == "CMN-408"
    assert response.json()["permissionName"] == "ReadCompanyCallLog"
    own = await ringcentral.client.get(f"{ACCOUNT}/extension/~/active-calls")
    assert own.status_code == 200
    foreign = await ringcentral.client.get(f"{ACCOUNT}/extension/711000101/active-calls")
    assert (foreign.status_code, foreign.json()["errors"][0]["errorCode"]) == (403, "CMN-404")


# Rate limits


async def test_a_refused_request_restarts_the_penalty() -> None:
    limits = GENEROUS | {"Heavy": 2}
    async with platform(rate_limits=limits, rate_penalty_seconds=60.5, speed=REAL_TIME) as here:
        first = await here.client.get(ACTIVE)
        assert first.headers["X-Rate-Limit-Remaining"] == "1"
        assert first.headers["X-Rate-Limit-Window"] == "60"
        await here.client.get(CALL_LOG)
        refused = await here.client.get(ACTIVE)
        assert refused.status_code == 429
        assert refused.json()["errorCode"] == "CMN-301"
        assert refused.headers["Retry-After"] == "60.5"
        assert refused.headers["X-Rate-Limit-Group"] == "heavy"
        assert (await here.client.get(SUBSCRIPTION)).status_code == 200
        for _ in range(4):
            await here.pass_time(25)
            assert (await here.client.get(ACTIVE)).status_code == 429
        await here.pass_time(61)
        assert (await here.client.get(ACTIVE)).status_code == 200


async def test_each_user_has_its_own_bucket() -> None:
    async with platform(rate_limits=GENEROUS | {"Heavy": 1}, speed=REAL_TIME) as here:
        await here.client.get(ACTIVE)
        assert (await here.client.get(ACTIVE)).status_code == 429
        await here.log_in("sim-jwt-second")
        assert (await here.client.get(ACTIVE)).status_code == 200


async def test_rate_headers_can_be_switched_off() -> None:
    async with platform(rate_limits=GENEROUS | {"Heavy": 1}, speed=REAL_TIME) as here:
        await here.faults(rateLimitHeaders=False, retryAfter=False)
        assert "X-Rate-Limit-Limit" not in (await here.client.get(ACTIVE)).headers
        refused = await here.client.get(ACTIVE)
        assert refused.status_code == 429
        assert "Retry-After" not in refused.headers


async def test_the_global_limit_and_an_outage_have_their_own_errors(ringcentral: Platform) -> None:
    await ringcentral.faults(globalLimit=True)
    refused = await ringcentral.client.get(ACTIVE)
    assert (refused.status_code, refused.json()["errorCode"]) == (429, "CMN-310")
    assert not any(name.lower().startswith("x-rate-limit") for name in refused.headers)
    await ringcentral.faults(globalLimit=False, unavailableShare=1.0)
    down = await ringcentral.client.get(ACTIVE)
    assert (down.status_code, down.json()["errorCode"]) == (503, "CMN-201")


# Active calls


async def test_an_ended_call_appears_late_and_leaves_again() -> None:
    late = replace(PLAIN, lag_min=40.0, lag_mode=40.0, lag_max=40.0)
    async with platform(speed=REAL_TIME, timing=late) as here:
        call = await here.play("outbound_busy")
        record = call["sessions"][0]["records"][0]
        assert (await here.get(ACTIVE))["records"] == []
        await here.pass_time(80)
        (shown,) = (await here.get(ACTIVE))["records"]
        assert (shown["id"], shown["result"]) == (record["id"], "Busy")
        assert shown["sessionId"] == call["sessions"][0]["sessionId"]

        await here.pass_time(120)
        assert (await here.get(ACTIVE))["records"] == []
        truth = await here.get(f"/_sim/calls/{call['id']}")
        served = truth["sessions"][0]["records"][0]["firstServedFinalByActiveCalls"]
        assert record["finalInActiveCallsFrom"] <= served < record["activeUntil"]


async def test_active_calls_ignores_a_session_filter(ringcentral: Platform) -> None:
    await ringcentral.play("outbound_busy")
    await ringcentral.play("queue_abandoned", ringSeconds=1)
    records = await ringcentral.ended(ACTIVE, 4, sessionId="1")
    assert len(records) == 4


async def test_active_calls_of_an_extension_contain_its_own_records(ringcentral: Platform) -> None:
    await ringcentral.play("internal", agent="101", colleague="102", talkSeconds=1, ringSeconds=1)
    records = await ringcentral.ended(f"{ACCOUNT}/extension/711000102/active-calls")
    assert [record["extension"]["id"] for record in records] == [711000102]


async def test_without_parameters_page_two_equals_page_one(ringcentral: Platform) -> None:
    await ringcentral.play("outbound_busy", count=3)
    await ringcentral.ended(ACTIVE, 3)
    second = await ringcentral.get(ACTIVE, perPage=2, page=2, view="Detailed")
    assert (len(second["records"]), second["paging"]["page"]) == (1, 2)
    assert "legs" in second["records"][0]
    await ringcentral.faults(activeCallsDropParameters=True)
    dropped = await ringcentral.get(ACTIVE, perPage=2, page=2, view="Detailed")
    assert (len(dropped["records"]), dropped["paging"]["page"]) == (3, 1)
    assert "legs" not in dropped["records"][0]


# Call log


async def test_the_call_log_follows_and_filters_by_session(ringcentral: Platform) -> None:
    call = await ringcentral.play("queue_answered", talkSeconds=5, ringSeconds=1)
    session = call["sessions"][0]
    found = await ringcentral.ended(CALL_LOG, 2, sessionId=session["sessionId"], view="Detailed")
    assert {record["id"] for record in found} == {record["id"] for record in session["records"]}
    assert {record["result"] for record in found} == {"Accepted", "Missed"}
    assert all(record["lastModifiedTime"] > record["startTime"] for record in found)


async def test_session_id_refuses_other_parameters_and_other_formats(ringcentral: Platform) -> None:
    mixed = await ringcentral.client.get(
        CALL_LOG, params={"sessionId": "1", "dateFrom": "2026-01-01T00:00:00Z"}
    )
    assert (mixed.status_code, mixed.json()["errorCode"], mixed.json()["parameterName"]) == (
        400,
        "CLG-110",
        "dateFrom",
    )
    opaque = await ringcentral.client.get(CALL_LOG, params={"sessionId": "s-abc"})
    assert (opaque.status_code, opaque.json()["errorCode"]) == (400, "CMN-101")


async def test_provisional_records_are_corrected_under_the_same_id() -> None:
    early = Timing(provisional_share=1.0, provisional_delay=1.0, straggler_share=0.0)
    async with platform(speed=REAL_TIME, timing=early) as here:
        call = await here.play("inbound_direct", talkSeconds=60, ringSeconds=2)
        record_id = call["sessions"][0]["records"][0]["id"]
        await here.pass_time(10)
        first = await here.get(f"{CALL_LOG}/{record_id}", view="Detailed")
        assert first["lastModifiedTime"] < call["endedAt"]
        await here.pass_time(150)
        last = await here.get(f"{CALL_LOG}/{record_id}", view="Detailed")
        assert last["lastModifiedTime"] > call["endedAt"]
        assert (last["id"], last["result"]) == (first["id"], "Accepted")


async def test_a_bulk_read_returns_a_multi_status_of_parts(ringcentral: Platform) -> None:
    await ringcentral.play("outbound_busy", count=2)
    ids = [record["id"] for record in await ringcentral.ended(CALL_LOG, 2)]
    asked = ",".join([ids[0], "QXnope", ids[1]])
    response = await ringcentral.client.get(f"{CALL_LOG}/{asked}")
    assert response.status_code == 207
    kind = response.headers["content-type"]
    assert kind.startswith("multipart/mixed; boundary=")
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    message = email.message_from_bytes(head + response.content, policy=email.policy.HTTP)
    parts = [json.loads(part.get_content()) for part in message.iter_parts()]
    assert [one["status"] for one in parts[0]["response"]] == [200, 404, 200]
    assert [part.get("id") for part in parts[1:]] == [ids[0], None, ids[1]]
    assert parts[2]["errorCode"] == "CMN-102"
    assert b"\r\n" in response.content
    assert b"}\n--" in response.content


async def test_bulk_reads_support_the_vendors_json_form(ringcentral: Platform) -> None:
    await ringcentral.play("outbound_busy")
    record_id = (await ringcentral.ended(CALL_LOG))[0]["id"]
    response = await ringcentral.client.get(
        f"{CALL_LOG}/{record_id},QXnope", headers={"Accept": "application/vnd.ringcentral.multipart+json"}
    )
    assert [one["status"] for one in response.json()] == [200, 404]
    assert response.status_code == 207


async def test_the_form_of_bulk_reads_can_be_fixed(ringcentral: Platform) -> None:
    forms = {"json": "application/vnd.ringcentral.multipart+json", "multipart": "multipart/mixed"}
    for form, kind in forms.items():
        await ringcentral.faults(bulkForm=form)
        response = await ringcentral.client.get(f"{CALL_LOG}/a,b", headers={"Accept": "*/*"})
        assert response.headers["content-type"].startswith(kind)
    refused = await ringcentral.client.get(CALL_LOG, params={"sessionId": "1", "direction": "Inbound"})
    latest = (await ringcentral.client.get("/_sim/requests")).json()[-1]
    assert (latest["status"], latest["parameters"]) == (refused.status_code, ["sessionId", "direction"])


async def test_recordings_that_records_name_can_be_withheld(ringcentral: Platform) -> None:
    call = await ringcentral.play("inbound_recorded_with_hold", talkSeconds=35, ringSeconds=1)
    path = f"{ACCOUNT}/recording/{call['sessions'][0]['recordings'][0]['id']}"

    async def ready() -> bool:
        return (await ringcentral.client.get(path)).status_code == 200

    await answer_to(ready)
    await ringcentral.faults(recordingsWithheld=True)
    assert not await ready()
    assert (await ringcentral.client.get(f"{path}/content")).status_code == 404
    await ringcentral.faults(recordingsWithheld=False)
    assert await ready()


async def test_missing_records_and_oversized_bulk_reads_are_refused(ringcentral: Platform) -> None:
    missing = await ringcentral.client.get(f"{CALL_LOG}/QXnope")
    assert (missing.status_code, missing.json()["errorCode"]) == (404, "CMN-102")
    await ringcentral.faults(bulkLimit=2)
    many = await ringcentral.client.get(f"{CALL_LOG}/a,b,c")
    assert (many.status_code, many.json()["errorCode"]) == (400, "CMN-106")
    assert "2" in many.json()["message"]


async def test_syncs_return_what_is_new(ringcentral: Platform) -> None:
    first = await ringcentral.get(f"{CALL_LOG}-sync", syncType="FSync", recordCount=100)
    extract = await ringcentral.get(f"{CALL_LOG}-extract-sync")
    assert first["records"] == extract["records"] == []
    await ringcentral.play("outbound_busy")
    await ringcentral.ended(CALL_LOG)
    for path, token in (("sync", first), ("extract-sync", extract)):
        newer = await ringcentral.get(
            f"{CALL_LOG}-{path}", syncType="ISync", syncToken=token["syncInfo"]["syncToken"]
        )
        assert [record["result"] for record in newer["records"]] == ["Busy"]
    await ringcentral.faults(extractSync=False)
    absent = await ringcentral.client.get(f"{CALL_LOG}-extract-sync")
    assert (absent.status_code, absent.json()["errorCode"]) == (404, "CMN-120")


async def test_deleted_records_are_hidden_or_marked(ringcentral: Platform) -> None:
    await ringcentral.play("outbound_busy", agent="101")
    await ringcentral.ended(CALL_LOG)
    own = f"{ACCOUNT}/extension/~/call-log"
    deleted = await ringcentral.client.delete(own, params={"dateTo": "2999-01-01T00:00:00Z"})
    assert deleted.status_code == 204
    assert (await ringcentral.get(own))["records"] == []
    assert (await ringcentral.get(own, showDeleted="true"))["records"][0]["deleted"] is True


# Sessions and recordings


async def test_a_session_can_be_read_during_the_call_only() -> None:
    async with platform(speed=REAL_TIME) as here:
        call = await here.play("inbound_direct", talkSeconds=40)
        path = f"{SESSIONS}/{call['sessions'][0]['telephonySessionId']}"
        assert (await here.get(path))["origin"] == {"type": "Call"}
        await here.pass_time(120)
        assert (await here.client.get(path)).status_code == 404


async def test_a_recording_becomes_available_late_on_the_media_host() -> None:
    slow = Timing(media_delay_min=60.0, media_delay_max=60.0, attach_delay_min=20.0, attach_delay_max=20.0)
    async with platform(speed=REAL_TIME, timing=slow) as here:
        call = await here.play("inbound_recorded_with_hold", talkSeconds=35, ringSeconds=1)
        recording_id = call["sessions"][0]["recordings"][0]["id"]
        path = f"{ACCOUNT}/recording/{recording_id}"
        early = await here.client.get(path)
        assert (early.status_code, early.json()["parameterName"]) == (404, "recordingId")
        await here.pass_time(300)
        uri = (await here.get(path))["contentUri"]
        assert uri.startswith(here.simulator.links.media)
        assert here.simulator.links.media != here.simulator.links.platform
        whole = await here.client.get(uri)
        assert (whole.status_code, whole.headers["content-type"]) == (200, "audio/mpeg")
        part = await here.client.get(uri, headers={"Range": "bytes=5-9"})
        assert (part.status_code, part.content) == (206, whole.content[5:10])
        assert part.headers["content-range"] == f"bytes 5-9/{len(whole.content)}"
        beyond = await here.client.get(uri, headers={"Range": f"bytes={len(whole.content)}-"})
        assert (beyond.status_code, beyond.json()["errorCode"]) == (416, "CMN-107")
        await here.faults(recordingRange="unasked", recordingFormat="wav")
        half = await here.client.get(uri)
        assert (half.status_code, half.headers["content-type"]) == (206, "audio/x-wav")
        await here.client.post("/_sim/recordings/purge", json={"ids": [recording_id]})
        assert (await here.client.get(uri)).status_code == 404
        assert (await here.client.get(f"{here.simulator.links.media}{ACTIVE}")).status_code == 404


async def test_record_and_legs_name_the_two_recordings_of_a_call(ringcentral: Platform) -> None:
    call = await ringcentral.play("recorded_twice", talkSeconds=90, ringSeconds=1)
    session = call["sessions"][0]
    first, second = session["recordings"]
    assert (first["type"], second["type"]) == ("OnDemand", "OnDemand")

    async def recorded() -> Json | None:
        params = {"view": "Detailed", "recordingType": "OnDemand"}
        records = (await ringcentral.get(CALL_LOG, **params))["records"]
        return records[0] if records else None

    record = await answer_to(recorded)
    assert record["recording"]["id"] == first["id"]
    assert [leg["recording"]["id"] for leg in record["legs"]] == [first["id"], second["id"]]
    assert {leg["recording"]["type"] for leg in record["legs"]} == {"OnDemand"}
    automatic = await ringcentral.get(CALL_LOG, view="Detailed", recordingType="Automatic")
    assert automatic["records"] == []
    for recording in (first, second):

        async def ready(path: str = f"{ACCOUNT}/recording/{recording['id']}") -> bool:
            return (await ringcentral.client.get(path)).status_code == 200

        await answer_to(ready)


async def test_record_and_legs_mention_a_short_recording(ringcentral: Platform) -> None:
    call = await ringcentral.play("transferred_soon", talkSeconds=40, ringSeconds=1)
    logged = {one["id"]: one for one in await ringcentral.ended(CALL_LOG, 2, view="Detailed")}
    first, second = (logged[one["id"]] for one in call["sessions"][0]["records"])
    assert [part.get("shortRecording") for part in (first, *first["legs"])] == [True, True, True]
    assert not any("shortRecording" in part for part in (second, *second["legs"]))


# Webhooks


async def test_a_subscription_is_created_after_a_handshake(ringcentral: Platform, hook: Hook) -> None:
    made = await subscribe(ringcentral, hook, expiresIn=630720000)
    assert hook.handshakes == 1
    assert made["status"] == "Active"
    assert made["eventFilters"] == ["/restapi/v1.0/account/908070001/telephony/sessions"]
    assert made["expiresIn"] <= 604800 / SPEED
    assert "9b1d-example" not in json.dumps(made)
    listed = await ringcentral.get(SUBSCRIPTION)
    assert [one["id"] for one in listed["records"]] == [made["id"]]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"echoes": False}, "SUB-520"),
        ({"handshake_headers": {"Content-Type": "text/plain"}}, "SUB-525"),
        ({"handshake_headers": {}}, "SUB-525"),
        ({"handshake_status": 204}, "SUB-525"),
        ({"handshake_body": b"x" * 1000}, "SUB-525"),
        ({"seconds": 3.2}, "SUB-521"),
    ],
)
async def test_an_invalid_handshake_refuses_the_subscription(
    ringcentral: Platform, hook: Hook, fault: Json, code: str
) -> None:
    for name, value in fault.items():
        setattr(hook, name, value)
    response = await ringcentral.client.post(SUBSCRIPTION, json=subscription_to(hook), timeout=10)
    assert (response.status_code, response.json()["errorCode"]) == (400, code)
    assert (await ringcentral.get(SUBSCRIPTION))["records"] == []


async def test_invalid_subscriptions_are_refused(ringcentral: Platform, hook: Hook) -> None:
    async def refusal(body: Json) -> tuple[int, str]:
        response = await ringcentral.client.post(SUBSCRIPTION, json=body)
        return response.status_code, response.json()["errors"][0]["errorCode"]

    assert await refusal(subscription_to(hook, "/nothing")) == (400, "SUB-508")
    assert await refusal({"eventFilters": [SESSIONS]}) == (400, "CMN-101")
    nowhere = subscription_to(hook)
    nowhere["deliveryMode"]["address"] = "http://127.0.0.1:9/rc"
    assert await refusal(nowhere) == (400, "SUB-521")
    await ringcentral.faults(requireHttps=True)
    assert await refusal(subscription_to(hook)) == (400, "SUB-523")
    await ringcentral.faults(requireHttps=False, subscriptionLimit=0)
    assert await refusal(subscription_to(hook)) == (403, "SUB-505")
    await ringcentral.faults(subscriptionLimit=30, missingScopes=["CallControl"])
    assert await refusal(subscription_to(hook)) == (403, "CMN-401")


async def test_a_filter_without_its_scope_is_disabled(ringcentral: Platform, hook: Hook) -> None:
    await ringcentral.faults(missingScopes=["ReadPresence"])
    presence = f"{ACCOUNT}/extension/~/presence?detailedTelephonyState=true"
    made = await subscribe(ringcentral, hook, SESSIONS, presence)
    assert len(made["eventFilters"]) == 1
    assert made["disabledFilters"][0]["filter"].endswith(
        "/extension/711000101/presence?detailedTelephonyState=true"
    )
    assert made["disabledFilters"][0]["reason"] == "CMN-401"


async def test_events_have_the_secret_and_ringcentrals_headers(ringcentral: Platform, hook: Hook) -> None:
    made = await subscribe(ringcentral, hook)
    call = await ringcentral.play("inbound_direct", agent="101", talkSeconds=2, ringSeconds=1)
    bodies = await hook.received(call["sessions"][0]["events"])
    headers = hook.requests[0][0]
    assert headers["verification-token"] == "9b1d-example"
    assert "validation-token" not in headers
    assert headers["accept-encoding"] == "UTF-8"
    assert headers["content-type"] == "application/json; charset=UTF-8"
    assert headers["user-agent"].startswith("RingCentral-Webhook/")
    assert len({body["uuid"] for body in bodies}) == len(bodies)
    assert {body["subscriptionId"] for body in bodies} == {made["id"]}
    assert {body["ownerId"] for body in bodies} == {"711000101"}
    assert {body["event"] for body in bodies} == {
        "/restapi/v1.0/account/908070001/telephony/sessions",
        "/restapi/v1.0/account/908070001/extension/711000101/telephony/sessions",
    }
    assert sorted(body["body"]["sequence"] for body in bodies) == list(range(2, 2 + len(bodies)))


async def test_an_address_in_the_settings_needs_no_subscription(hook: Hook) -> None:
    async with platform(webhook_url=hook.url, webhook_token="secret") as here:
        call = await here.play("outbound_busy")
        await hook.received(call["sessions"][0]["events"])
        assert hook.handshakes == 0
        assert hook.requests[0][0]["verification-token"] == "secret"
        assert (await here.get(SUBSCRIPTION))["records"] == []


async def test_the_wire_format_has_variants(ringcentral: Platform, hook: Hook) -> None:
    await subscribe(ringcentral, hook)
    await ringcentral.faults(mislabelledToken=True, uuidForm="guid", timeForm="+0000", pnApns=True)
    await ringcentral.play("outbound_busy")
    await hook.received(5)
    headers, body = hook.requests[0]
    assert headers["validation-token"] == "9b1d-example"
    assert "verification-token" not in headers
    assert len(body["uuid"].split("-")) == 5
    assert body["pn_apns"]["timestamp"].endswith("+0000")
    assert body["pn_apns"]["body"]["eventTime"].endswith("+0000")


async def test_a_duplicate_has_the_same_uuid_and_a_lost_event_never_arrives(
    ringcentral: Platform, hook: Hook
) -> None:
    await subscribe(ringcentral, hook)
    await ringcentral.faults(duplicateShare=1.0)
    await ringcentral.play("outbound_busy")
    bodies = await hook.received(10)
    assert len({body["uuid"] for body in bodies}) == 5
    await ringcentral.faults(duplicateShare=0.0, lossShare=1.0)
    await ringcentral.play("outbound_busy")

    async def all_lost() -> bool:
        return bool((await ringcentral.get("/_sim/statistics"))["deliveries"].get("lost") == 5)

    assert await answer_to(all_lost)
    assert len(hook.requests) == 10


async def test_a_delivery_that_fails_is_repeated(ringcentral: Platform, hook: Hook) -> None:
    await subscribe(ringcentral, hook)
    hook.status = 503
    await ringcentral.play("outbound_busy")
    await hook.received(5)
    hook.status = 200
    bodies = await hook.received(10)
    assert len({body["uuid"] for body in bodies}) == 5


async def test_lasting_failure_suspends_and_a_probe_recovers(ringcentral: Platform, hook: Hook) -> None:
    made = await subscribe(ringcentral, hook)
    await ringcentral.faults(suspendAfterSeconds=0, suspendAfterFailures=3, recovery="probe", probeSeconds=60)
    hook.status = 500
    await ringcentral.play("outbound_busy")
    path = f"{SUBSCRIPTION}/{made['id']}"

    async def is_now(status: str) -> Json | None:
        shown = await ringcentral.get(path)
        return shown if shown["status"] == status else None

    suspended = await answer_to(lambda: is_now("Blacklisted"))
    assert suspended["blacklistedData"]["reason"].startswith("Response code: 500")
    hook.status = 200
    assert await answer_to(lambda: is_now("Active"))
    assert hook.handshakes == 2


async def test_a_suspended_subscription_stays_suspended_by_default(ringcentral: Platform, hook: Hook) -> None:
    made = await subscribe(ringcentral, hook)
    await ringcentral.client.post(f"/_sim/subscriptions/{made['id']}", json={"action": "suspend"})
    call = await ringcentral.play("outbound_busy")
    await ringcentral.ended(ACTIVE)
    assert hook.requests == []
    assert call["sessions"][0]["eventsDelivered"] == 5


async def test_subscriptions_can_be_renewed_updated_and_deleted(ringcentral: Platform, hook: Hook) -> None:
    made = await subscribe(ringcentral, hook, expiresIn=60000)
    path = f"{SUBSCRIPTION}/{made['id']}"
    renewed = (await ringcentral.client.post(f"{path}/renew")).json()
    assert renewed["expirationTime"] > made["expirationTime"]
    own = f"{ACCOUNT}/extension/~/telephony/sessions"
    updated = (await ringcentral.client.put(path, json={"eventFilters": [own]})).json()
    assert "/extension/711000101/" in updated["eventFilters"][0]
    assert (await ringcentral.client.put(path)).status_code == 200
    assert hook.handshakes == 1
    await ringcentral.faults(handshakeOnRenewal=True)
    assert (await ringcentral.client.post(f"{path}/renew")).status_code == 200
    assert hook.handshakes == 2
    assert (await ringcentral.client.delete(path)).status_code == 204
    gone = await ringcentral.client.get(path)
    assert (gone.status_code, gone.json()["errorCode"]) == (404, "SUB-507")


async def test_a_reminder_is_sent_before_the_end(ringcentral: Platform, hook: Hook) -> None:
    reminder = f"{SUBSCRIPTION}/~?threshold=6000&interval=3000"
    made = await subscribe(ringcentral, hook, SESSIONS, reminder, expiresIn=12_000)
    await ringcentral.pass_time(61)
    body = (await hook.received(1))[0]
    assert body["event"] == f"{SUBSCRIPTION}/{made['id']}"
    assert body["body"]["id"] == made["id"]


async def test_presence_events_describe_the_same_call(ringcentral: Platform, hook: Hook) -> None:
    await subscribe(ringcentral, hook, f"{ACCOUNT}/extension/~/presence?detailedTelephonyState=true")
    call = await ringcentral.play("inbound_direct", agent="101", talkSeconds=2, ringSeconds=1)
    bodies = [body["body"] for body in await hook.received(4)]
    final = [body for body in bodies if body["telephonyStatus"] == "NoCall"]
    assert final[0]["activeCalls"][0]["sessionId"] == call["sessions"][0]["sessionId"]
    assert final[0]["extensionId"] == 711000101


async def test_presence_can_be_the_only_source(ringcentral: Platform, hook: Hook) -> None:
    presence = f"{ACCOUNT}/extension/711000101/presence?detailedTelephonyState=true"
    await subscribe(ringcentral, hook, SESSIONS, presence)
    await ringcentral.faults(sessionEvents=False, presenceQueueInfo=True, presenceWithoutEnd=True)
    await ringcentral.play("queue_abandoned", agent="101", colleague="102", ringSeconds=1)
    bodies = [body["body"] for body in await hook.received(2)]
    calls = {body["telephonyStatus"]: body["activeCalls"][0] for body in bodies}
    assert set(calls) == {"Ringing", "NoCall"}
    assert "terminationType" not in calls["NoCall"]
    assert calls["Ringing"]["queueCall"] is True
    assert calls["Ringing"]["callInfo"]["primary"] == {"type": "QueueName", "value": "Sales"}


# Forms of records


async def test_a_record_can_hold_a_byte_that_is_no_utf_8(ringcentral: Platform) -> None:
    await ringcentral.play("inbound_missed", ringSeconds=1)
    await ringcentral.play("inbound_missed", ringSeconds=1)
    first, second = [record["id"] for record in await ringcentral.ended(CALL_LOG, 2)]
    await ringcentral.faults(namesNotUtf8=True, namesCutInEmoji=True)
    for path in (CALL_LOG, f"{CALL_LOG}/{first}", f"{CALL_LOG}/{first},{second}"):
        content = (await ringcentral.client.get(path)).content
        with pytest.raises(UnicodeDecodeError):
            content.decode()
        assert rb" \ud83d" in content, path


async def test_a_record_is_found_by_its_own_session_id_alone(ringcentral: Platform) -> None:
    await ringcentral.faults(splitSessionIds=True)
    call = await ringcentral.play("inbound_missed", ringSeconds=1)
    (record,) = await ringcentral.ended(CALL_LOG)
    assert "telephonySessionId" not in record
    assert record["sessionId"] != call["sessions"][0]["sessionId"]
    by_record = await ringcentral.get(CALL_LOG, sessionId=record["sessionId"])
    assert [one["id"] for one in by_record["records"]] == [record["id"]]
    by_event = await ringcentral.get(CALL_LOG, sessionId=call["sessions"][0]["sessionId"])
    assert by_event["records"] == []


async def test_every_list_of_records_can_be_simple(ringcentral: Platform) -> None:
    await ringcentral.faults(simpleRecordsOnly=True, recordsWithoutExtension=True)
    await ringcentral.play("inbound_missed", ringSeconds=1)
    sync = await ringcentral.ended(
        f"{ACCOUNT}/call-log-sync", syncType="FSync", recordCount=5, view="Detailed"
    )
    lists = [
        *(await ringcentral.ended(CALL_LOG, view="Detailed")),
        *(await ringcentral.ended(ACTIVE, view="Detailed")),
        *sync,
    ]
    assert len(lists) == 3
    for record in lists:
        assert not {"legs", "lastModifiedTime", "extension"} & set(record)


# Control


async def test_the_clock_can_be_moved_forward_by_a_week(ringcentral: Platform, hook: Hook) -> None:
    await subscribe(ringcentral, hook)
    await ringcentral.play("outbound_busy", startInSeconds=3000)
    await ringcentral.pass_time(31)
    await hook.received(1)
    await ringcentral.pass_time(604800)
    refused = await ringcentral.client.get(SUBSCRIPTION)
    assert refused.json()["errorCode"] == "OAU-128"
    await ringcentral.log_in()
    assert (await ringcentral.get(SUBSCRIPTION))["records"] == []
    assert (await ringcentral.get(CALL_LOG))["records"] == []


async def test_the_company_plays_its_calls_and_reports_when_all_have_ended() -> None:
    async with platform(calls_per_minute=120, calls=8, talk_seconds=4.0, speed=200.0) as here:

        async def done() -> Json | None:
            company = await here.get("/_sim/company")
            return company if company["allEnded"] else None

        assert (await answer_to(done))["started"] == 8
        over = (await here.client.get("/_sim/calls", params={"over": "true"})).json()
        statistics = await here.get("/_sim/statistics")
        assert len(over) == statistics["calls"]["ended"] == 8


async def test_a_reset_removes_calls_tokens_faults_and_subscriptions(
    ringcentral: Platform, hook: Hook
) -> None:
    await subscribe(ringcentral, hook)
    await ringcentral.play("outbound_busy")
    await ringcentral.faults(lossShare=0.5)
    await ringcentral.client.post("/_sim/reset")
    assert (await ringcentral.client.get(ACTIVE)).json()["errorCode"] == "TokenInvalid"
    assert (await ringcentral.get("/_sim/faults"))["lossShare"] == 0.0
    assert (await ringcentral.client.get("/_sim/calls")).json() == []
    assert (await ringcentral.get("/_sim/statistics"))["calls"]["started"] == 0


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("calls", {"script": "no_such_script"}, 404),
        ("calls", {"agent": "999"}, 422),
        ("calls", {"talkSecond": 5}, 422),
        ("calls", {"count": 0}, 422),
        ("tokens", {"action": "steal"}, 422),
        ("subscriptions/nobody", {"action": "suspend"}, 404),
    ],
)
async def test_invalid_control_requests_are_refused(
    ringcentral: Platform, path: str, body: Json, status: int
) -> None:
    response = await ringcentral.client.post(f"/_sim/{path}", json=body)
    assert (response.status_code, "error" in response.json()) == (status, True)


async def test_unknown_paths_and_accounts_are_refused(ringcentral: Platform) -> None:
    nowhere = await ringcentral.client.get("/restapi/v1.0/nothing")
    assert (nowhere.status_code, nowhere.json()["errorCode"]) == (404, "CMN-120")
    foreign = await ringcentral.client.get("/restapi/v1.0/account/1/active-calls")
    assert (foreign.status_code, foreign.json()["errorCode"]) == (404, "CMN-102")


async def test_the_overview_contains_the_credentials(ringcentral: Platform) -> None:
    shown = await ringcentral.get("/_sim/")
    assert shown["credentials"]["RC_SERVER_URL"] == ringcentral.simulator.links.platform
    names = [script["name"] for script in (await ringcentral.client.get("/_sim/scripts")).json()]
    assert "ivr_then_agent" in names


async def test_account_and_extensions_can_be_read(ringcentral: Platform) -> None:
    assert (await ringcentral.get(ACCOUNT))["id"] == 908070001
    assert (await ringcentral.get(f"{ACCOUNT}/extension/~"))["extensionNumber"] == "101"
    assert len((await ringcentral.get(f"{ACCOUNT}/extension"))["records"]) >= 10


# Posting

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def raw_server(*responses: bytes, closes: bool = False) -> AsyncIterator[tuple[str, list[int]]]:
    """Answer requests with these bytes in turn; yields the address and each request's connection number."""
    left, connections, seen = list(responses), [0], list[int]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[0] += 1
        number = connections[0]
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while left:
                await reader.readuntil(b"\r\n\r\n")
                seen.append(number)
                writer.write(left.pop(0))
                await writer.drain()
                if closes:
                    break
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/rc?x=1", seen
    finally:
        server.close()


async def post_all(url: str, count: int) -> list[WebhookResponse]:
    poster = Poster({"Accept": "application/json"})
    try:
        return [await poster.post(url, b"", {}) for _ in range(count)]
    finally:
        await poster.close()


async def test_the_size_of_a_response_includes_every_byte() -> None:
    plain = HEAD + b"Content-Length: 5\r\n\r\nhello"
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    async with raw_server(plain, chunked) as (url, connections):
        responses = await post_all(url, 2)
    assert [response.size for response in responses] == [len(plain), len(chunked)]
    assert connections == [1, 1]
    assert responses[0].headers["content-type"] == "application/json"


async def test_a_closed_connection_is_reopened() -> None:
    whole = HEAD + b"Content-Length: 0\r\n\r\n"
    async with raw_server(whole, whole, closes=True) as (url, connections):
        responses = await post_all(url, 2)
    assert [response.status for response in responses] == [200, 200]
    assert connections == [1, 2]


async def test_a_response_without_a_length_lasts_until_the_connection_closes() -> None:
    until_the_end = HEAD + b"\r\nhello"
    async with raw_server(until_the_end, closes=True) as (url, _):
        assert (await post_all(url, 1))[0].size == len(until_the_end)


@pytest.mark.parametrize(
    "response", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200", HEAD + b"Content-Length: 9\r\n\r\nshort"]
)
async def test_an_incomplete_response_is_an_error(response: bytes) -> None:
    async with raw_server(response, response, closes=True) as (url, _):
        with pytest.raises(UnreachableError):
            await post_all(url, 1)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:99999/", "http:///rc", "ftp://host/", "http://host/a b", "http://h/\r\nX: y", 5],
)
async def test_an_invalid_address_is_refused(ringcentral: Platform, hook: Hook, address: object) -> None:
    body = subscription_to(hook)
    body["deliveryMode"]["address"] = address
    response = await ringcentral.client.post(SUBSCRIPTION, json=body)
    assert (response.status_code, response.json()["parameterName"]) == (400, "deliveryMode.address")


async def test_a_secret_that_a_header_cannot_contain_is_refused(ringcentral: Platform, hook: Hook) -> None:
    body = subscription_to(hook)
    body["deliveryMode"]["verificationToken"] = "a\r\nX-Injected: b"
    response = await ringcentral.client.post(SUBSCRIPTION, json=body)
    assert (response.status_code, response.json()["parameterName"]) == (400, "deliveryMode.verificationToken")


# Conversation insights

RINGSENSE = "/ai/ringsense/v1/public/accounts/~/domains/pbx"


async def recorded_call(here: Platform) -> tuple[str, str]:
    """Play a recorded call to its end; return its `telephonySessionId` and its recording's id."""
    call = await here.play("inbound_recorded_with_hold", talkSeconds=40, ringSeconds=2)
    session = call["sessions"][0]
    await here.ended(CALL_LOG, view="Simple")
    return session["telephonySessionId"], session["recordings"][0]["id"]


async def test_insights_without_a_licence_are_refused(ringcentral: Platform) -> None:
    response = await ringcentral.client.get(f"{RINGSENSE}/sessions/s-1/insights")
    assert (response.status_code, response.json()["errorCode"]) == (403, "FeatureNotAvailable")
    assert response.headers["X-Rate-Limit-Group"] == "light"
    await ringcentral.faults(insightsLicensed=True, missingScopes=["RingSense"])
    response = await ringcentral.client.get(f"{RINGSENSE}/sessions/s-1/insights")
    assert (response.status_code, response.json()["errors"][0]["errorCode"]) == (403, "CMN-401")
    await ringcentral.faults(missingScopes=[])
    await ringcentral.log_in("sim-jwt-limited")
    response = await ringcentral.client.get(f"{RINGSENSE}/sessions/s-1/insights")
    assert response.json()["errors"][0]["errorCode"] == "CMN-408"


async def test_insights_are_404_until_they_exist(
    ringcentral: Platform,
) -> None:
    await ringcentral.faults(insightsLicensed=True)
    session_id, recording_id = await recorded_call(ringcentral)
    by_session, by_recording = (
        f"{RINGSENSE}/sessions/{session_id}/insights",
        f"{RINGSENSE}/records/{recording_id}/insights",
    )
    for path in (by_session, by_recording):
        assert (await ringcentral.client.get(path)).status_code == 404
    await ringcentral.client.patch("/_sim/clock", json={"advanceSeconds": 20})
    (listed,) = (await ringcentral.get(by_session))["records"]
    assert listed == await ringcentral.get(by_recording)
    assert (listed["sourceSessionId"], listed["sourceRecordId"]) == (session_id, recording_id)
    asked = await ringcentral.get(by_recording, insightTypes=["Sentiment", "AIScore"])
    assert set(asked["insights"]) == {"Sentiment", "AIScore"}
    assert (await ringcentral.client.get(f"{RINGSENSE}/sessions/1229016182016/insights")).status_code == 404


async def test_insights_events_contain_the_insights_and_the_second_has_more(
    ringcentral: Platform, hook: Hook
) -> None:
    await ringcentral.faults(insightsLicensed=True, insightsNotes=True)
    created = await subscribe(ringcentral, hook, f"{RINGSENSE}/insights")
    assert created["eventFilters"] == ["/ai/ringsense/v1/public/accounts/908070001/domains/pbx/insights"]
    session_id, recording_id = await recorded_call(ringcentral)
    await ringcentral.client.patch("/_sim/clock", json={"advanceSeconds": 20})
    (first,) = await hook.received(1)
    assert first["event"] == "/ai/ringsense/v1/public/accounts/908070001/domains/pbx/insights"
    assert (first["body"]["sourceSessionId"], first["body"]["sourceRecordId"]) == (session_id, recording_id)
    await ringcentral.client.patch("/_sim/clock", json={"advanceSeconds": 4})
    _, second = await hook.received(2)
    assert set(first["body"]["insights"]) < set(second["body"]["insights"])
    assert first["body"]["lastModifiedTime"] < second["body"]["lastModifiedTime"]


async def test_the_insights_filter_is_disabled_without_a_licence(ringcentral: Platform, hook: Hook) -> None:
    created = await subscribe(ringcentral, hook, SESSIONS, f"{RINGSENSE}/insights")
    (disabled,) = created["disabledFilters"]
    assert disabled["filter"].endswith("/domains/pbx/insights")
    assert disabled["reason"] == "SUB-402"


# --- the directory ------------------------------------------------------------------------------------------

DIRECTORY = f"{ACCOUNT}/directory/entries"


async def test_the_directory_lists_people_queues_and_menus_with_their_numbers(ringcentral: Platform) -> None:
    entries = {one["name"]: one for one in (await ringcentral.get(DIRECTORY, showFederated=False))["records"]}
    ana, sales, ida = entries["Ana Ruiz"], entries["Sales"], entries["Ida Petrov"]
    assert (ana["id"], ana["extensionNumber"], ana["type"]) == ("711000101", "101", "User")
    assert ana["email"] == "ana.ruiz@northwind-tea.example"
    assert [(one["phoneNumber"], one["usageType"]) for one in ana["phoneNumbers"]] == [
        ("+15550100101", "DirectNumber"),
        ("+15550166007", "MobileNumber"),
    ]
    assert (sales["type"], "email" in sales) == ("Department", False)
    assert (entries["Main Menu"]["type"], entries["Main Menu"]["phoneNumbers"]) == ("IvrMenu", [])
    assert ida["status"] == "Disabled"
    assert all("account" not in one for one in entries.values())


async def test_the_directory_has_pages_and_can_be_limited_to_a_type(ringcentral: Platform) -> None:
    first = await ringcentral.get(DIRECTORY, perPage=5)
    assert len(first["records"]) == 5
    assert "nextPage" in first["navigation"]
    queues = (await ringcentral.get(DIRECTORY, type="Department"))["records"]
    assert [one["name"] for one in queues] == ["Sales"]


async def test_an_unchanged_directory_is_304(ringcentral: Platform) -> None:
    first = await ringcentral.client.get(DIRECTORY)
    assert first.headers["X-Rate-Limit-Group"] == "medium"
    same = {"If-None-Match": first.headers["ETag"]}
    again = await ringcentral.client.get(DIRECTORY, headers=same)
    assert (again.status_code, again.content) == (304, b"")
    await ringcentral.faults(formerExtensions=["711000102"])
    changed = await ringcentral.client.get(DIRECTORY, headers=same)
    assert changed.status_code == 200
    assert "711000102" not in [one["id"] for one in changed.json()["records"]]
    await ringcentral.faults(directoryEtags=False)
    assert "ETag" not in (await ringcentral.client.get(DIRECTORY)).headers


async def test_a_directory_lists_federated_accounts_unless_told_otherwise(ringcentral: Platform) -> None:
    await ringcentral.faults(federatedAccount=True)
    accounts = {one["account"]["id"] for one in (await ringcentral.get(DIRECTORY))["records"]}
    assert accounts == {"908070001", "908079999"}
    own = (await ringcentral.get(DIRECTORY, showFederated=False))["records"]
    assert "Pat Neumann" not in [one["name"] for one in own]


async def test_the_directory_needs_the_scope_and_the_list_a_permission_too(ringcentral: Platform) -> None:
    await ringcentral.faults(missingPermissions=["ReadExtensions"])
    assert (await ringcentral.client.get(DIRECTORY)).status_code == 200
    refused = await ringcentral.client.get(f"{ACCOUNT}/extension")
    assert (refused.status_code, refused.json()["errors"][0]["errorCode"]) == (403, "CMN-408")
    await ringcentral.faults(missingScopes=["ReadAccounts"])
    refused = await ringcentral.client.get(DIRECTORY)
    assert (refused.status_code, refused.json()["permissionName"]) == (403, "ReadAccounts")
    await ringcentral.faults(missingScopes=[], missingPermissions=[], directoryAvailable=False)
    assert (await ringcentral.client.get(DIRECTORY)).json()["errorCode"] == "CMN-403"
    listed = (await ringcentral.get(f"{ACCOUNT}/extension"))["records"]
    assert listed[0]["contact"]["mobilePhone"] == "+15550166007"


async def test_the_account_has_a_home_country_and_an_extension_a_time_zone(ringcentral: Platform) -> None:
    account = await ringcentral.get(ACCOUNT)
    assert account["regionalSettings"]["homeCountry"]["isoCode"] == "US"
    extension = await ringcentral.get(f"{ACCOUNT}/extension/711000102")
    assert extension["regionalSettings"]["timezone"]["name"] == "America/Los_Angeles"
