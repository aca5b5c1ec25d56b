"""Every operation that writes makes an entry of the audit, or is listed here with the reason why not."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from app.audit.model import AuditAction
from app.calls.media import voicemails
from app.calls.media.voicemails import VoicemailRow, VoicemailState
from app.ops.api_docs import name_operation
from app.ops.api_routes import API_ROUTERS
from tests.described import describe
from tests.factories_calls import ACCOUNT, CUSTOMER, seed_call
from tests.fakes.reader_stage import Stage, simulated, staged

PUBLIC = "https://calls.northwind-tea.example"
_IN_THE_FEED = "the change of the call has the id of the key, in the feed and in its timeline"
_READS = "reads, although its method is POST"
NOT_AUDITED = {
    "receive_notification": "a delivery of RingCentral's, which is stored as it came",
    "add_note": _IN_THE_FEED,
    "update_note": _IN_THE_FEED,
    "delete_note": _IN_THE_FEED,
    "put_sentiment": _IN_THE_FEED,
    "delete_sentiment": _IN_THE_FEED,
    "put_disposition": _IN_THE_FEED,
    "delete_disposition": _IN_THE_FEED,
    "put_link": _IN_THE_FEED,
    "delete_link": _IN_THE_FEED,
    "attach_many": _IN_THE_FEED,
    "batch_get_calls": _READS,
    "batch_get_call_log_records": _READS,
    "batch_get_extension_call_log_records": _READS,
    "verify_erasure": _READS,
    "test_webhook_endpoint": "the endpoint's log of attempts has it",
    "resend_webhook": "the endpoint's log of attempts has it",
}


def audited_operations() -> dict[str, AuditAction]:
    """The operations that write an entry, with their action."""
    found = {}
    for router in API_ROUTERS:
        for route in router.routes:
            for dependency in route.dependant.dependencies:  # type: ignore[attr-defined]
                action = getattr(dependency.call, "audits", None)
                if action is not None:
                    found[name_operation(route)] = action  # type: ignore[arg-type]
    return found


def test_every_operation_that_writes_is_audited_or_says_why_not() -> None:
    writes = {
        operation["operationId"]
        for methods in describe()["paths"].values()
        for method, operation in methods.items()
        if method in {"post", "put", "patch", "delete"}
    }
    audited = set(audited_operations())
    assert audited & set(NOT_AUDITED) == set()
    assert audited | set(NOT_AUDITED) == writes


@pytest.fixture
async def stage(make_settings: Any, database_url: str) -> AsyncIterator[Stage]:
    values = {"public_url": PUBLIC, "push_allow_http": True, "rc_jwt": None}
    async with staged(make_settings, database_url, simulated(), **values) as opened:
        yield opened


@dataclass
class Desk:
    """Sends a request for each operation, and remembers what has to be in the audit."""

    stage: Stage
    done: dict[str, str | None]

    async def do(
        self, operation: str, method: str, path: str, body: Any = None, target: str | None = None
    ) -> Any:
        """`target`: None takes the id in the response."""
        answer = await send(self.stage.reader, method, path, body, operation)
        assert answer.is_success, answer.text
        shown = answer.json() if answer.content else {}
        self.done[operation] = target or shown.get("keyId") or shown.get("id")
        return shown


async def send(
    client: httpx.AsyncClient, method: str, path: str, body: Any, request_id: str
) -> httpx.Response:
    headers = {"X-Request-Id": request_id}
    return await client.request(method, path, json=body, headers=headers)


async def seed_media(stage: Stage) -> str:
    """A call with the recording 4711 and the voicemail 1337."""
    call_id = await stage.know("4711")
    call = await seed_call(stage.database)
    now = stage.process.clock.now()
    row = VoicemailRow(
        account_id=ACCOUNT, voicemail_id="1337", call_id=call.call_id, extension_id="711000101",
        state=VoicemailState.READY, created_at=now, updated_at=now,
    )  # fmt: skip
    async with stage.database.write() as db:
        await voicemails.save(db, [row])
    return call_id


async def do_everything(desk: Desk) -> None:
    call_id = await seed_media(desk.stage)
    made = await desk.do("create_api_key", "POST", "/v1/api-keys", {"name": "crm"})
    path = f"/v1/api-keys/{made['keyId']}"
    await desk.do("update_key", "PATCH", path, {"requestsPerMinute": 9})
    await desk.do("revoke_api_key", "DELETE", path, target=made["keyId"])
    jwt = desk.stage.simulator.settings.jwt
    account = await desk.do("add_account", "POST", "/v1/accounts", {"jwt": jwt, "name": "backup"}, "backup")
    path = f"/v1/accounts/{account['accountId']}/credentials/backup"
    await desk.do("delete_credentials", "DELETE", path, target="backup")
    await desk.do("create_invitation", "POST", "/v1/accounts/invitations", {})
    endpoint = {"url": "https://crm.northwind-tea.example/hook?token=a-secret-of-theirs"}
    made = await desk.do("create_webhook_endpoint", "POST", "/v1/webhook-endpoints", endpoint)
    path, target = f"/v1/webhook-endpoints/{made['id']}", made["id"]
    await desk.do("update_webhook_endpoint", "PATCH", path, {"atOnce": 3}, target)
    await desk.do("rotate_webhook_secret", "POST", f"{path}/secrets", target=target)
    noted = await desk.stage.reader.post(f"/v1/calls/{call_id}/notes", json={"text": "x"})
    assert noted.status_code == 201
    await desk.stage.reader.patch(path, json={"cursor": "now"})
    again = {"since": "2020-01-01T00:00:00Z"}
    await desk.do("recover_webhooks", "POST", f"{path}/recover", again, target)
    await desk.do("delete_webhook_endpoint", "DELETE", path, target=target)
    for kind, media in (("recording", "recordings/4711"), ("voicemail", "voicemails/1337")):
        made = await desk.do(f"add_{kind}_link", "POST", f"/v1/{media}/links", {})
        path, target = f"/v1/{media}/links/{made['id']}", made["id"]
        await desk.do(f"revoke_{kind}_link", "DELETE", path, target=target)
    path = f"/v1/calls/{call_id}/legal-hold"
    await desk.do("put_legal_hold", "PUT", path, {"reason": "Case of Dana Field"}, call_id)
    await desk.do("delete_legal_hold", "DELETE", path, target=call_id)
    made = await desk.do("plan_erasure", "POST", "/v1/erasures", {"phoneNumber": CUSTOMER})
    await desk.do("run_erasure", "POST", f"/v1/erasures/{made['id']}/run", {}, made["id"])


async def entries(client: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/audit", params={"limit": 200, **params})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_each_audited_operation_tells_who_did_what_to_which_thing(stage: Stage) -> None:
    desk = Desk(stage, {})
    await do_everything(desk)
    audited = audited_operations()
    assert set(desk.done) == set(audited)
    found = await entries(stage.reader)
    told = {one["requestId"]: one for one in found}
    for operation, target in desk.done.items():
        entry = told[operation]
        assert (entry["action"], entry["target"]) == (audited[operation].value, target), operation
        assert entry["actor"] == {"kind": "apiKey", "keyId": "key_first"}
        assert entry["outcome"] == "done"
        assert entry["accountId"] in {"~", ACCOUNT}
    text = json.dumps(found)
    for private in ("017", "Dana", "a-secret-of-theirs", "whsec_", "ak_", str(stage.simulator.settings.jwt)):
        assert private not in text


async def test_what_is_refused_is_told_once(stage: Stage) -> None:
    """A key that may do nothing of it tries each operation twice."""
    audited = audited_operations()
    made = await stage.reader.post("/v1/api-keys", json={"name": "nosy", "scopes": ["calls:read"]})
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    paths = {
        operation["operationId"]: (method.upper(), path)
        for path, methods in describe()["paths"].items()
        for method, operation in methods.items()
    }
    filling = {
        "endpoint": "whe_01kdv6x3q8m7a2c5e9r4t1y6wz", "keyId": "key_01kdv6x3q8m7a2c5e9r4t1y6wz",
        "call": "15550179001", "account": ACCOUNT, "name": "backup", "recording_id": "4711",
        "voicemail_id": "1337", "link": "listen_01kdv6x3q8m7a2c5e9r4t1y6wz",
        "erasure": "erasure_01kdv6x3q8m7a2c5e9r4t1y6wz",
    }  # fmt: skip
    async with httpx.AsyncClient(base_url=stage.reader.base_url, headers=headers, timeout=60) as nosy:
        for operation in sorted(audited):
            method, path = paths[operation]
            for number in range(2):
                answer = await send(nosy, method, path.format(**filling), {}, f"{operation}-{number}")
                assert answer.status_code == 403, (operation, answer.text)
    found = await entries(stage.reader, keyId=made.json()["keyId"])
    assert sorted(one["action"] for one in found) == sorted({one.value for one in audited.values()})
    assert {one["outcome"] for one in found} == {"refused"}
    for one in found:
        assert one["details"] == {"problem": "forbidden", "status": 403}
    targets = {one["action"]: one["target"] for one in found}
    assert targets["api-key.revoked"] == filling["keyId"]
    assert targets["legal-hold.placed"] is None, "what a caller names a call may be a phone number"
