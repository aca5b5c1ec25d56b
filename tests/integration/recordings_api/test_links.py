"""Links at which a person or a CRM listens: what they open, for how long, and what they tell."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import delete, update

from app.api.keys import create_key
from app.calls.media import voicemails
from app.calls.media.voicemails import VoicemailRow, VoicemailState
from app.clock import SystemClock
from app.db.tables import audio_links, calls
from app.ids import AccountId
from tests.factories_calls import ACCOUNT, seed_call
from tests.fakes.reader_stage import Stage, simulated, staged

PUBLIC = "https://calls.northwind-tea.example"
CLOCK = SystemClock()


@pytest.fixture
async def public(make_settings: Any, database_url: str) -> AsyncIterator[Stage]:
    async with staged(make_settings, database_url, simulated(), public_url=PUBLIC) as opened:
        yield opened


@pytest.fixture
async def guarded(make_settings: Any, sqlite_url: str) -> AsyncIterator[Stage]:
    values = {"public_url": PUBLIC, "listen_sign_in": True}
    async with staged(make_settings, sqlite_url, simulated(), **values) as opened:
        yield opened


def anyone(stage: Stage) -> httpx.AsyncClient:
    """A client without a key."""
    return httpx.AsyncClient(base_url=stage.reader.base_url, timeout=60)


async def make_link(stage: Stage, recording_id: str, **body: Any) -> dict[str, Any]:
    answer = await stage.reader.post(f"/v1/recordings/{recording_id}/links", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def path_of(address: str) -> str:
    assert address.startswith(f"{PUBLIC}/listen/")
    return urlsplit(address).path


async def test_a_link_opens_its_recording_with_ranges_and_counts_its_uses(public: Stage) -> None:
    recording_id = await public.recorded()
    await public.know(recording_id)
    made = await make_link(public, recording_id)
    whole = await public.whole(recording_id)
    async with anyone(public) as client:
        page = await client.get(path_of(made["url"]))
        assert (page.status_code, f'src="{path_of(made["audioUrl"])}"' in page.text) == (200, True)
        audio = await client.get(path_of(made["audioUrl"]))
        part = await client.get(path_of(made["audioUrl"]), headers={"Range": "bytes=100-199"})
        head = await client.head(path_of(made["audioUrl"]))
    assert (audio.status_code, audio.content) == (200, whole)
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert head.headers["Content-Length"] == str(len(whole))
    for answer in (page, audio, part, head):
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    (listed,) = (await public.reader.get(f"/v1/recordings/{recording_id}/links")).json()["data"]
    assert (listed["uses"], listed["state"]) == (1, "open")
    assert listed["lastUsedAt"] is not None
    assert listed | {"uses": 0, "lastUsedAt": None} == made


async def test_an_address_tells_nothing_and_cannot_be_changed(public: Stage) -> None:
    await public.know("4711")
    await public.know("4712")
    one, other = await make_link(public, "4711"), await make_link(public, "4712")
    path = path_of(one["url"])
    assert not {"4711", ACCOUNT} & set(path.replace("-", "/").split("/"))
    _, _, link_id, signature = path.split("/")
    foreign = path_of(other["url"]).split("/")[3]
    async with anyone(public) as client:
        for bad in (
            f"/listen/{link_id}/{foreign}",
            f"/listen/{link_id}/{signature[:-1]}",
            f"/listen/{link_id}/ü{signature}",
            f"/listen/listen_01jp0v7s4v8x2m6c9q3t5r7w1e/{signature}",
        ):
            page, audio = await client.get(bad), await client.get(f"{bad}/audio")
            assert (page.status_code, audio.status_code) == (404, 404)
        # A row that somebody changed in the database opens nothing either.
        async with public.database.write() as db:
            await db.execute(update(audio_links).values(media_id="4712"))
        assert (await client.get(path)).status_code == 404


async def test_links_end_by_expiry_by_revocation_and_with_their_call(public: Stage) -> None:
    await public.know("4711")
    expired, revoked, gone = [await make_link(public, "4711", expiresInSeconds=60) for _ in range(3)]
    path = f"/v1/recordings/4711/links/{revoked['id']}"
    assert (await public.reader.delete(path)).status_code == 204
    assert (await public.reader.delete(path)).status_code == 204
    unknown = "listen_01jp0v7s4v8x2m6c9q3t5r7w1e"
    assert (await public.reader.delete(f"/v1/recordings/4711/links/{unknown}")).status_code == 404
    now = CLOCK.now()
    async with public.database.write() as db:
        past = {"expires_at": (now - timedelta(minutes=1)).replace(microsecond=0)}
        await db.execute(update(audio_links).where(audio_links.c.link_id == expired["id"]).values(**past))
    listed = (await public.reader.get("/v1/recordings/4711/links")).json()["data"]
    states = {one["id"]: one["state"] for one in listed}
    assert states == {expired["id"]: "expired", revoked["id"]: "revoked", gone["id"]: "open"}
    renewed = next(one for one in listed if one["id"] == expired["id"])
    async with anyone(public) as client:
        for made in (renewed, revoked):
            page, audio = await client.get(path_of(made["url"])), await client.get(path_of(made["audioUrl"]))
            assert (page.status_code, audio.status_code) == (410, 404)
            assert "expired or was revoked" in page.text
        assert (await client.get(path_of(gone["url"]))).status_code == 200
        async with public.database.write() as db:
            await db.execute(delete(calls))
        assert (await client.get(path_of(gone["url"]))).status_code == 404


async def test_voicemails_have_links_too(public: Stage) -> None:
    call = await seed_call(public.database)
    now = CLOCK.now()
    row = VoicemailRow(
        account_id=ACCOUNT, voicemail_id="1504832006", call_id=call.call_id, extension_id="711000101",
        state=VoicemailState.READY, created_at=now, updated_at=now,
    )  # fmt: skip
    async with public.database.write() as db:
        await voicemails.save(db, [row])
    path = "/v1/voicemails/1504832006/links"
    made = await public.reader.post(path, json={})
    assert made.status_code == 201, made.text
    assert (await public.reader.get(path)).json()["data"] == [made.json()]
    async with anyone(public) as client:
        assert "Listen to the voicemail" in (await client.get(path_of(made.json()["url"]))).text
    assert (await public.reader.delete(f"{path}/{made.json()['id']}")).status_code == 204
    assert (await public.reader.post("/v1/recordings/1504832006/links", json={})).status_code == 404


async def test_projections_have_the_newest_open_link(public: Stage) -> None:
    call_id = await public.know("4711")
    path = f"/v1/calls/{call_id}/projections/hubspot"

    async def shown() -> Any:
        answer = await public.reader.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    before = await shown()
    assert "recording-left-out" in {one["code"] for one in before["warnings"]}
    await make_link(public, "4711")
    newest = await make_link(public, "4711")
    after = await shown()
    assert after["request"]["body"]["properties"]["hs_call_recording_url"] == newest["audioUrl"]
    assert "recording-left-out" not in {one["code"] for one in after["warnings"]}
    included = await public.reader.get(f"/v1/calls/{call_id}", params={"include": "projections.hubspot"})
    assert included.json()["included"]["projections"]["hubspot"] == after
    await public.reader.delete(f"/v1/recordings/4711/links/{newest['id']}")
    assert (await shown())["request"] != after["request"]


async def test_where_a_sign_in_is_wanted_an_address_alone_opens_nothing(guarded: Stage) -> None:
    recording_id = await guarded.recorded()
    call_id = await guarded.know(recording_id)
    made = await make_link(guarded, recording_id)
    page, audio = path_of(made["url"]), path_of(made["audioUrl"])
    key = guarded.reader.headers["Authorization"].removeprefix("Bearer ")
    async with guarded.database.write() as db:
        foreign = (await create_key(db, AccountId("555000111"), "other", CLOCK.now())).plain
    async with anyone(guarded) as client:
        assert (await client.get(audio)).status_code == 401
        assert "<audio" not in (await client.get(page)).text
        assert "Sign in to listen" in (await client.get(page, params={"checked": ""})).text
        for wrong in ("ak_wrong", foreign):
            refused = await client.post(page, data={"key": wrong})
            assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
        signed_in = await client.post(page, data={"key": key})
        assert (signed_in.status_code, signed_in.headers["Location"]) == (303, page)
        cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
        assert "<audio" in (await client.get(page, headers=cookie)).text
        assert (await client.get(audio, headers=cookie)).content == await guarded.whole(recording_id)
    projected = await guarded.reader.get(f"/v1/calls/{call_id}/projections/hubspot")
    properties = projected.json()["request"]["body"]["properties"]
    assert properties["hs_call_recording_url"] == made["url"], "no CRM can sign in to play the audio"


async def test_links_need_a_public_address_both_scopes_and_a_known_recording(
    stage: Stage, public: Stage
) -> None:
    refused = await stage.reader.post("/v1/recordings/4711/links", json={})
    assert (refused.status_code, "AFTERCALL_PUBLIC_URL" in refused.text) == (422, True)
    assert (await public.reader.post("/v1/recordings/4799/links", json={})).status_code == 404
    await public.know("4711")
    for seconds in (59, 366 * 86_400 + 1):
        body = {"expiresInSeconds": seconds}
        assert (await public.reader.post("/v1/recordings/4711/links", json=body)).status_code == 422
    async with public.database.write() as db:
        reader = await create_key(db, ACCOUNT, "reader", CLOCK.now(), ["calls:read"])
    headers = {"Authorization": f"Bearer {reader.plain}"}
    answer = await public.reader.post("/v1/recordings/4711/links", json={}, headers=headers)
    assert (answer.status_code, answer.json()["requiredScope"]) == (403, "notes:write")
