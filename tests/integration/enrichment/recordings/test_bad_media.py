"""A media host that breaks off, stalls, lies or sends elsewhere: what readers get of it, and what is left
behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.conftest import answer_to
from tests.fakes.media import Answer, MediaHost, media_host, part, says, whole
from tests.fakes.reader_stage import Stage, simulated, staged

SOUND = bytes(place % 251 for place in range(300_000))
OTHER = bytes(place % 241 for place in range(400_000))
CONTENT = "/v1/recordings/4711/content"


@pytest.fixture
def before(make_settings: Any, sqlite_url: str) -> Any:
    """The service, with a recording at a media host that gives these answers."""

    @asynccontextmanager
    async def open_stage(*answers: Answer) -> AsyncIterator[tuple[Stage, MediaHost]]:
        async with (
            media_host(*answers) as host,
            staged(make_settings, sqlite_url, simulated(), rc_media_url=host.url) as stage,
        ):
            await stage.know("4711", content_uri=f"{host.url}/recording/4711/content")
            yield stage, host

    return open_stage


async def test_what_breaks_off_is_whole_for_the_reader(before: Any) -> None:
    async with before(whole(SOUND, breaks_after=100_000), part(SOUND, 100_000)) as (stage, host):
        answer = await stage.reader.get(CONTENT)
        assert (answer.status_code, answer.content) == (200, SOUND)
        assert host.asked[1]["range"].startswith("bytes=100000-")
        await host.closed()


async def test_what_breaks_off_for_good_breaks_off_for_the_reader_too(before: Any) -> None:
    async with before(whole(SOUND, breaks_after=10)) as (stage, host):
        with pytest.raises(httpx.RemoteProtocolError):
            await stage.reader.get(CONTENT)
        assert len(host.asked) == 4
        await host.closed()
        assert (await stage.reader.get("/v1/recordings/4711")).status_code == 200


async def test_without_a_length_a_reader_can_still_detect_a_broken_stream(before: Any) -> None:
    chunked = ["Content-Type: audio/mpeg", "Transfer-Encoding: chunked"]
    async with before(says("200 OK", chunked, b"5\r\nabcde\r\n")) as (stage, host):
        with pytest.raises(httpx.RemoteProtocolError):
            await stage.reader.get(CONTENT)
        await host.closed()


async def test_changed_audio_is_never_mixed_with_its_old_version(before: Any) -> None:
    async with before(whole(SOUND, breaks_after=100_000), part(OTHER, 100_000)) as (stage, host):
        with pytest.raises(httpx.RemoteProtocolError):
            await stage.reader.get(CONTENT)
        await host.closed()


async def test_a_part_that_begins_too_late_is_rejected(before: Any) -> None:
    async with before(part(SOUND, 500)) as (stage, _):
        answer = await stage.reader.get(CONTENT, headers={"Range": "bytes=100-"})
        assert (answer.status_code, answer.json()["fault"]) == (502, "ringcentral")


async def test_a_reader_who_leaves_while_ringcentral_stalls_leaves_nothing_behind(before: Any) -> None:
    headers = ["Content-Type: audio/mpeg", f"Content-Length: {len(SOUND)}"]
    async with before(says("200 OK", headers, SOUND[:1000], then_stalls=True)) as (stage, host):
        tasks = asyncio.all_tasks()
        async with stage.reader.stream("GET", CONTENT) as answer:
            async for _ in answer.aiter_raw():
                break
        await host.closed()
        bucket = await stage.process.connections.own()
        assert bucket is not None
        assert all(slot.done_at for slot in (await bucket.rates.peek("Heavy")).slots)

        async def nothing_left() -> bool:
            return not asyncio.all_tasks() - tasks

        await answer_to(nothing_left)


async def test_a_redirect_within_the_house_is_followed(before: Any) -> None:
    async with before(says("302 Found", ["Location: /elsewhere"]), whole(SOUND)) as (stage, host):
        assert (await stage.reader.get(CONTENT)).content == SOUND
        assert [one[":path"] for one in host.asked] == ["/recording/4711/content", "/elsewhere"]


async def test_a_redirect_to_a_foreign_host_is_not_followed(before: Any) -> None:
    async with media_host(whole(SOUND)) as foreign:
        async with before(says("302 Found", [f"Location: {foreign.url}/x"])) as (stage, _):
            answer = await stage.reader.get(CONTENT)
        assert (answer.status_code, foreign.asked) == (502, [])


@pytest.mark.parametrize("content_type", ["text/html", "audio/mpeg; charset=utf-8", "image/svg+xml", ""])
async def test_a_response_is_never_rendered_as_a_page(before: Any, content_type: str) -> None:
    headers = [f"Content-Type: {content_type}"] if content_type else []
    async with before(says("200 OK", [*headers, "Content-Length: 3"], b"<p>")) as (stage, _):
        answer = await stage.reader.get(CONTENT)
        expected = "audio/mpeg" if content_type.startswith("audio/") else "application/octet-stream"
        assert answer.headers["content-type"] == expected
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_several_ranges_at_once_are_answered_with_the_whole(before: Any) -> None:
    async with before(whole(SOUND)) as (stage, host):
        answer = await stage.reader.get(CONTENT, headers={"Range": "bytes=0-9,20-29"})
        assert (answer.status_code, answer.content) == (200, SOUND)
        assert "range" not in host.asked[0]


async def test_a_part_of_a_version_that_cannot_be_vouched_for_is_the_whole(before: Any) -> None:
    async with before(whole(SOUND)) as (stage, _):
        for version in ('"abc"', "Tue, 10 Mar 2026 18:09:00 GMT"):
            headers = {"Range": "bytes=100-199", "If-Range": version}
            answer = await stage.reader.get(CONTENT, headers=headers)
            assert (answer.status_code, answer.content) == (200, SOUND)
