"""Listening to recordings through the service, whatever RingCentral makes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.calls.media import recordings
from app.calls.media.recordings import State
from app.enrichment.audio.archived_audio import PlayableAudio
from app.enrichment.audio.audio_stream import AudioStream
from app.enrichment.audio.byte_ranges import Span
from app.ringcentral.client import RingCentralClient
from app.ringcentral.models import Recording
from tests.factories_calls import ACCOUNT
from tests.fakes.reader_stage import GENEROUS, Stage, simulated, staged


def path(recording_id: str) -> str:
    return f"/v1/recordings/{recording_id}/content"


@pytest.fixture
async def scarce(make_settings: Any, sqlite_url: str) -> AsyncIterator[Stage]:
    """One Heavy request is all that RingCentral grants."""
    limits = GENEROUS | {"Heavy": 1}
    async with staged(
        make_settings, sqlite_url, simulated(rate_limits=limits, speed=1.0), rate_limit_heavy=1
    ) as opened:
        yield opened


@pytest.mark.parametrize("habit", ["supported", "ignored", "unasked"])
@pytest.mark.parametrize("says_length", [True, False])
async def test_the_whole_recording_is_served(stage: Stage, habit: str, says_length: bool) -> None:
    recording_id = await stage.recorded()
    await stage.know(recording_id)
    stage.faults(recording_range=habit, recording_content_length=says_length)
    answer = await stage.reader.get(path(recording_id))
    assert answer.status_code == 200
    assert answer.content == await stage.whole(recording_id)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == f'inline; filename="recording-{recording_id}.mp3"'


@pytest.mark.parametrize("habit", ["supported", "ignored", "unasked"])
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=100-199", 100, 199), ("bytes=-50", -50, None), ("bytes=60-", 60, None), ("bytes=0-0", 0, 0)],
)
async def test_a_part_is_served_whether_or_not_ringcentral_honours_ranges(
    stage: Stage, habit: str, asked: str, first: int, last: int | None
) -> None:
    recording_id = await stage.recorded()
    await stage.know(recording_id)
    stage.faults(recording_range=habit)
    answer = await stage.reader.get(path(recording_id), headers={"Range": asked})
    whole = await stage.whole(recording_id)
    expected = whole[first : None if last is None else last + 1]
    assert answer.status_code == 206
    assert answer.content == expected
    begins = first if first >= 0 else len(whole) + first
    assert answer.headers["content-range"] == f"bytes {begins}-{begins + len(expected) - 1}/{len(whole)}"
    assert answer.headers["content-length"] == str(len(expected))


@pytest.mark.parametrize("habit", ["supported", "ignored"])
async def test_a_range_behind_the_end_is_416_with_the_size(stage: Stage, habit: str) -> None:
    recording_id = await stage.recorded()
    await stage.know(recording_id)
    stage.faults(recording_range=habit)
    answer = await stage.reader.get(path(recording_id), headers={"Range": "bytes=99999999-"})
    assert answer.status_code == 416
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-range"] == f"bytes */{len(await stage.whole(recording_id))}"


async def test_head_returns_the_size_without_the_audio(stage: Stage) -> None:
    recording_id = await stage.recorded()
    await stage.know(recording_id)
    answer = await stage.reader.head(path(recording_id), params={"download": True})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(await stage.whole(recording_id)))
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_a_recording_that_only_ringcentral_knows_can_be_played(stage: Stage) -> None:
    recording_id = await stage.recorded()
    shown = (await stage.reader.get(f"/v1/recordings/{recording_id}")).json()
    assert (shown["state"], shown["callIds"], shown["contentType"]) == ("ready", [], "audio/mpeg")
    assert shown["contentUrl"] == path(recording_id)
    assert (await stage.reader.get(shown["contentUrl"])).content == await stage.whole(recording_id)


async def test_a_recording_that_is_not_ready_is_404_with_that_reason(stage: Stage) -> None:
    await stage.know("4711", State.PENDING)
    answer = await stage.reader.get(path("4711"))
    assert (answer.status_code, answer.json()["state"]) == (404, "pending")
    assert "not ready yet" in answer.json()["detail"]


async def test_playing_a_pending_recording_makes_it_due_at_once(any_stage: Stage) -> None:
    stage = any_stage
    recording_id = await stage.recorded()
    await stage.know(recording_id, State.PENDING)
    assert (await stage.reader.get(path(recording_id))).status_code == 200
    (row,) = await stage.process.playback.load(ACCOUNT, recording_id)
    assert row.due_at is not None
    assert row.due_at <= stage.process.clock.now()


async def test_a_purged_recording_is_404_and_shown_as_expired_from_then_on(any_stage: Stage) -> None:
    stage = any_stage
    recording_id = await stage.recorded()
    call_id = await stage.know(recording_id, content_type="audio/mpeg")
    stage.simulator.purge_recordings([recording_id])
    answer = await stage.reader.get(path(recording_id))
    assert answer.status_code == 404
    assert "not available any more" in answer.json()["detail"]
    shown = (await stage.reader.get(f"/v1/calls/{call_id}")).json()
    assert shown["readiness"]["recording"]["state"] == "expired"
    shown = (await stage.reader.get(f"/v1/recordings/{recording_id}")).json()
    assert (shown["state"], shown["problem"], shown["contentUrl"]) == ("expired", "gone", None)
    asked = len(stage.asked())
    assert (await stage.reader.get(path(recording_id))).status_code == 404
    assert len(stage.asked()) == asked, "nothing is asked for what is known to be gone"


async def test_a_recording_named_too_early_is_requested_again(stage: Stage) -> None:
    recording_id = await stage.recorded()
    call_id = await stage.know(recording_id)
    stage.simulator.purge_recordings([recording_id])
    answer = await stage.reader.get(path(recording_id))
    assert (answer.status_code, answer.json()["state"]) == (404, "pending")
    assert "not ready yet" in answer.json()["detail"]
    shown = (await stage.reader.get(f"/v1/calls/{call_id}")).json()
    assert shown["readiness"]["recording"]["state"] == "pending"
    (row,) = await stage.process.playback.load(ACCOUNT, recording_id)
    assert row.due_at is not None
    assert row.due_at <= stage.process.clock.now()


async def test_a_recording_missing_after_hours_is_gone(stage: Stage) -> None:
    recording_id = await stage.recorded()
    await stage.know(recording_id, created_at=stage.process.clock.now() - timedelta(hours=4))
    stage.simulator.purge_recordings([recording_id])
    answer = await stage.reader.get(path(recording_id))
    assert "not available any more" in answer.json()["detail"]


async def test_a_recording_known_from_its_record_is_described_by_ringcentral_once(stage: Stage) -> None:
    recording_id = await stage.recorded()
    await stage.know(recording_id)
    for _ in range(2):
        shown = (await stage.reader.get(f"/v1/recordings/{recording_id}")).json()
        assert (shown["state"], shown["contentType"]) == ("ready", "audio/mpeg")
        assert shown["duration"] > 0
    assert len(stage.asked()) == 1


async def test_a_recording_without_metadata_is_still_shown(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tell_nothing(_: object, recording_id: str, **__: Any) -> Recording:
        return Recording(id=recording_id)

    monkeypatch.setattr(RingCentralClient, "fetch_recording", tell_nothing)
    await stage.know("4711")
    answer = await stage.reader.get("/v1/recordings/4711")
    assert (answer.status_code, answer.json()["state"], answer.json()["contentType"]) == (200, "ready", None)


async def test_a_recording_is_shown_without_type_and_length_when_no_request_is_left(
    scarce: Stage,
) -> None:
    for recording_id in ("4711", "4712"):
        await scarce.know(recording_id)
    assert (await scarce.reader.get("/v1/recordings/4711")).json()["state"] == "pending", (
        "RingCentral denied it"
    )
    answer = await scarce.reader.get("/v1/recordings/4712")
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["contentType"]) == ("ready", None)
    assert len(scarce.asked()) == 1


async def test_metadata_of_a_known_recording_costs_no_request(stage: Stage) -> None:
    call_id = await stage.know("4711", State.PENDING)
    shown = (await stage.reader.get("/v1/recordings/4711")).json()
    assert (shown["callIds"], shown["state"], shown["archived"]) == ([call_id], "pending", None)
    assert stage.asked() == []


async def test_an_address_on_a_foreign_host_is_not_followed(stage: Stage) -> None:
    await stage.know("4711", content_uri="https://evil.example/restapi/recording/4711/content")
    answer = await stage.reader.get(path("4711"))
    assert answer.status_code == 502
    assert answer.json()["type"] == "/problems/ringcentral-host"
    assert stage.asked() == []


async def test_ringcentrals_refusal_is_shown_with_its_code(stage: Stage) -> None:
    recording_id = await stage.recorded()
    await stage.know(recording_id)
    stage.faults(missing_scopes=("ReadCallRecording",))
    answer = await stage.reader.get(path(recording_id))
    assert answer.status_code == 502
    assert answer.json()["ringCentral"]["code"] in {"CMN-401", "InsufficientPermissions"}


async def test_no_token_leaves_the_house(stage: Stage) -> None:
    recording_id = await stage.recorded()
    await stage.know(recording_id)
    answer = await stage.reader.get(path(recording_id))
    assert "authorization" not in answer.headers
    assert all("access_token" not in str(one) for one in stage.simulator.requests)


async def test_a_wav_is_called_one(stage: Stage) -> None:
    recording_id = await stage.recorded()
    stage.faults(recording_format="wav")
    await stage.know(recording_id)
    answer = await stage.reader.get(path(recording_id))
    assert answer.headers["content-type"] == "audio/x-wav"
    assert answer.headers["content-disposition"].endswith('.wav"')
    assert answer.content[:4] == b"RIFF"


async def test_a_reader_who_leaves_ends_thedownload(stage: Stage, monkeypatch: Any) -> None:
    recording_id = await stage.recorded()
    await stage.know(recording_id)
    closed = asyncio.Event()
    sent: list[int] = []

    async def endless(*_: Any) -> Any:
        while True:
            sent.append(65_536)
            yield bytes(65_536)
            await asyncio.sleep(0)

    @asynccontextmanager
    async def never_ends(*_: Any) -> Any:
        try:
            yield PlayableAudio(
                AudioStream(Span(0, None, None), False, "audio/mpeg", endless()), "audio/mpeg"
            )
        finally:
            closed.set()

    monkeypatch.setattr(stage.process.playback, "open", never_ends)
    async with stage.reader.stream("GET", path(recording_id)) as answer:
        async for _ in answer.aiter_raw():
            break
    async with asyncio.timeout(20):
        await closed.wait()
    before = len(sent)
    await asyncio.sleep(0.05)
    assert len(sent) == before


async def test_an_exhausted_budget_gives_the_time_of_the_next_try(
    make_settings: Any, sqlite_url: str
) -> None:
    limits = {"Light": 100, "Medium": 100, "Heavy": 4, "Auth": 100}
    async with staged(
        make_settings,
        sqlite_url,
        simulated(rate_limits=limits, speed=1.0),
        rate_limit_heavy=4,
        rate_limit_window_seconds=6.0,
    ) as stage:
        answers: list[httpx.Response] = []
        for number in range(6):
            await stage.know(str(number))
            answers.append(await stage.reader.get(path(str(number))))
        refused = [answer for answer in answers if answer.status_code == 503]
        assert refused
        assert refused[0].json()["fault"] == "limit"
        assert int(refused[0].headers["retry-after"]) >= 1
        assert all(one["status"] != 429 for one in stage.simulator.requests)


async def test_a_key_without_the_scope_cannot_play_recordings(stage: Stage) -> None:
    stage.reader.headers["Authorization"] = "Bearer ak_nobodys"
    assert (await stage.reader.get(path("4711"))).status_code == 401


async def test_a_request_without_budget_takes_none_from_others(
    scarce: Stage,
) -> None:
    for recording_id in ("4711", "4712"):
        await scarce.know(recording_id)
        await scarce.reader.get(f"/v1/recordings/{recording_id}")
    own = await scarce.process.connections.own()
    assert own is not None
    bucket = await own.rates.peek("Heavy")
    assert (len(bucket.slots), bucket.wants) == (1, ())


async def test_a_recording_refused_for_a_missing_permission_is_requested_once(stage: Stage) -> None:
    stage.faults(missing_scopes=("ReadCallRecording",))
    for recording_id in ("4711", "4712"):
        await stage.know(recording_id)
        shown = (await stage.reader.get(f"/v1/recordings/{recording_id}")).json()
        assert (shown["state"], shown["contentType"]) == ("ready", None)
    assert [one["status"] for one in stage.asked()] == [403]


async def test_of_calls_that_share_a_recording_the_ready_one_is_shown(stage: Stage) -> None:
    recording_id = await stage.recorded()
    calls = [
        await stage.know(recording_id, state, content_type="audio/mpeg")
        for state in (State.EXPIRED, State.READY, State.PENDING)
    ]
    shown = (await stage.reader.get(f"/v1/recordings/{recording_id}")).json()
    assert (shown["state"], shown["contentUrl"]) == ("ready", path(recording_id))
    assert sorted(shown["callIds"]) == sorted(calls)
    assert (await stage.reader.get(shown["contentUrl"])).status_code == 200


async def test_a_reader_who_leaves_the_archive_closes_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []

    class Long:
        async def size(self, _: str) -> int:
            return 3

        async def read(self, _: str, first: int, last: int) -> AsyncIterator[bytes]:
            try:
                for _one in range(first, last + 1):
                    yield b"x"
            finally:
                closed.append(last)

    monkeypatch.setattr(stage.process.playback, "_archive", Long())
    await stage.know("4711")
    kept: dict[str, Any] = {"archive_path": "p", "archive_bytes": 3, "archive_sha256": "00" * 32}
    async with stage.database.write() as db:
        await recordings.change(db, ACCOUNT, "4711", **kept)
    async with stage.process.playback.open(ACCOUNT, "4711", None) as audio:
        assert await anext(audio.stream.chunks) == b"x"
        assert closed == []
    assert closed == [2]
    etag = f'"{"00" * 32}"'
    for version, status in ((etag, 206), ('"another"', 200), (f"W/{etag}", 200)):
        headers = {"Range": "bytes=1-1", "If-Range": version}
        assert (await stage.reader.get(path("4711"), headers=headers)).status_code == status
