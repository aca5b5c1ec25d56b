"""Listening to voicemails through the service, and what it says of them."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.calls.media import voicemails
from app.calls.media.voicemails import VoicemailRow, VoicemailState
from app.calls.model import Outcome
from app.enrichment.audio.archive_store import FolderArchive
from app.enrichment.voicemails.archiver import VoicemailArchiver
from app.enrichment.voicemails.watcher import VoicemailPlan, VoicemailWatcher
from app.simulator.platform import audio
from app.simulator.platform.views import iso
from app.simulator.platform.voicemails import seconds_of
from tests.conftest import answer_to
from tests.factories_calls import ACCOUNT, ANA, BEN, seed_call
from tests.fakes.context import accounts_context
from tests.fakes.reader_stage import Stage, simulated, staged

PLAN = VoicemailPlan(archives=True)


def path(voicemail_id: str) -> str:
    return f"/v1/voicemails/{voicemail_id}/content"


async def left(stage: Stage, agent: str = "101") -> str:
    """Let a caller leave a voicemail; return its id once RingCentral has its transcript."""
    truth = await stage.play("voicemail", agent=agent)
    (record,) = truth["sessions"][0]["records"]
    voicemail = record["voicemail"]

    async def transcribed() -> str | None:
        is_there = iso(stage.simulator.now()) > voicemail["transcribedAt"]
        return str(voicemail["id"]) if is_there else None

    return str(await answer_to(transcribed))


def whole(stage: Stage, voicemail_id: str) -> bytes:
    """The audio as RingCentral has it."""
    record = stage.simulator.calls.ready_message(voicemail_id, stage.simulator.now())
    assert record is not None
    form = stage.simulator.faults.recording_format
    return audio.make_audio(voicemail_id, float(seconds_of(record)), form)


async def know(
    stage: Stage, voicemail_id: str, state: VoicemailState = VoicemailState.READY, **fields: Any
) -> str:
    """Let a call of ours name the voicemail; return the call's id."""
    readiness = {"voicemail": {"state": "pending", "since": None}}
    call = await seed_call(
        stage.database, session_id=f"9{voicemail_id}", outcome=Outcome.VOICEMAIL, readiness=readiness
    )
    now = stage.process.clock.now()
    row = VoicemailRow(
        account_id=ACCOUNT, voicemail_id=voicemail_id, call_id=call.call_id, extension_id=ANA, state=state,
        created_at=now, updated_at=now,
    )  # fmt: skip
    async with stage.database.write() as db:
        await voicemails.save(db, [replace(row, **fields)])
    return call.call_id


def watcher(stage: Stage) -> VoicemailWatcher:
    process = stage.process
    return VoicemailWatcher(accounts_context(process.database, process.clock, process.connections), PLAN)


async def due(stage: Stage, voicemail_id: str) -> str:
    return await know(stage, voicemail_id, VoicemailState.PENDING, due_at=stage.process.clock.now())


async def test_a_call_shows_its_voicemail_and_its_transcript(any_stage: Stage) -> None:
    stage = any_stage
    voicemail_id = await left(stage)
    call_id = await due(stage, voicemail_id)
    shown = (await stage.reader.get(f"/v1/calls/{call_id}")).json()["voicemail"]
    assert (shown["state"], shown["transcript"]) == ("pending", None)
    await watcher(stage).step()
    call = (await stage.reader.get(f"/v1/calls/{call_id}")).json()
    assert call["readiness"]["voicemail"]["state"] == "ready"
    shown = call["voicemail"]
    assert (shown["id"], shown["extensionId"], shown["state"]) == (voicemail_id, ANA, "ready")
    assert voicemail_id in shown["transcript"]
    assert (shown["transcriptStatus"], shown["contentUrl"]) == ("Completed", path(voicemail_id))
    alone = (await stage.reader.get(f"/v1/voicemails/{voicemail_id}")).json()
    assert alone == alone | shown
    assert (alone["callIds"], alone["archived"], alone["nextLookAt"]) == ([call_id], None, None)
    assert (await stage.reader.get(path(voicemail_id))).content == whole(stage, voicemail_id)


@pytest.mark.parametrize("habit", ["supported", "ignored", "unasked"])
@pytest.mark.parametrize("says_length", [True, False])
async def test_the_whole_voicemail_is_served(stage: Stage, habit: str, says_length: bool) -> None:
    voicemail_id = await left(stage)
    await know(stage, voicemail_id)
    stage.faults(recording_range=habit, recording_content_length=says_length)
    answer = await stage.reader.get(path(voicemail_id))
    assert answer.status_code == 200
    assert answer.content == whole(stage, voicemail_id)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["content-disposition"] == f'inline; filename="voicemail-{voicemail_id}.mp3"'


@pytest.mark.parametrize("habit", ["supported", "ignored", "unasked"])
@pytest.mark.parametrize("asked", ["bytes=100-199", "bytes=-50", "bytes=60-", "bytes=0-0"])
async def test_a_part_is_served_whether_or_not_ringcentral_honours_ranges(
    stage: Stage, habit: str, asked: str
) -> None:
    voicemail_id = await left(stage)
    await know(stage, voicemail_id)
    stage.faults(recording_range=habit)
    answer = await stage.reader.get(path(voicemail_id), headers={"Range": asked})
    content = whole(stage, voicemail_id)
    first, last = asked.removeprefix("bytes=").split("-")
    expected = content[-int(last) :] if not first else content[int(first) : int(last) + 1 if last else None]
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["content-range"].endswith(f"/{len(content)}")


async def test_a_range_behind_the_end_is_416_with_the_size(stage: Stage) -> None:
    voicemail_id = await left(stage)
    await know(stage, voicemail_id)
    answer = await stage.reader.get(path(voicemail_id), headers={"Range": "bytes=99999999-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(whole(stage, voicemail_id))}"


async def test_head_returns_the_size_without_the_audio(stage: Stage) -> None:
    voicemail_id = await left(stage)
    await know(stage, voicemail_id)
    answer = await stage.reader.head(path(voicemail_id), params={"download": True})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(whole(stage, voicemail_id)))
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_an_archived_voicemail_is_played_from_the_archive(any_stage: Stage, tmp_path: Path) -> None:
    stage = any_stage
    voicemail_id = await left(stage)
    await due(stage, voicemail_id)
    await watcher(stage).step()
    archive, process = FolderArchive(tmp_path / "kept"), stage.process
    process.voicemails._archive = archive
    context = accounts_context(process.database, process.clock, process.connections)
    await VoicemailArchiver(context, archive, PLAN, spool=tmp_path / "spool").step()
    content = whole(stage, voicemail_id)
    digest = hashlib.sha256(content).hexdigest()
    alone = (await stage.reader.get(f"/v1/voicemails/{voicemail_id}")).json()
    assert alone["archived"] == alone["archived"] | {"bytes": len(content), "sha256": digest}
    (kept,) = (tmp_path / "kept").rglob("*.mp3")
    assert (kept.name, kept.read_bytes()) == (f"voicemail-{voicemail_id}.mp3", content)
    stage.simulator.calls.purge_messages([voicemail_id])
    asked = len(stage.asked())
    part = {"Range": "bytes=1-4"}
    answer = await stage.reader.get(path(voicemail_id), headers=part | {"If-Range": f'"{digest}"'})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (206, content[1:5], f'"{digest}"')
    answer = await stage.reader.get(path(voicemail_id), headers=part | {"If-Range": '"other"'})
    assert (answer.status_code, answer.content) == (200, content)
    assert len(stage.asked()) == asked


async def test_a_purged_voicemail_is_404_and_expired_from_then_on(stage: Stage) -> None:
    voicemail_id = await left(stage)
    call_id = await know(stage, voicemail_id)
    stage.simulator.calls.purge_messages([voicemail_id])
    for _ in range(2):
        answer = await stage.reader.get(path(voicemail_id))
        assert (answer.status_code, answer.json()["state"]) == (404, "expired")
    call = (await stage.reader.get(f"/v1/calls/{call_id}")).json()
    assert (call["voicemail"]["state"], call["voicemail"]["contentUrl"]) == ("expired", None)
    assert call["readiness"]["voicemail"]["reason"] == "gone"


async def test_a_voicemail_that_is_not_there_yet_is_404_and_pending(stage: Stage) -> None:
    await know(stage, "4711", VoicemailState.PENDING)
    answer = await stage.reader.get(path("4711"))
    assert (answer.status_code, answer.json()["state"]) == (404, "pending")
    assert "not ready yet" in answer.json()["detail"]


async def test_an_unknown_voicemail_is_404_and_an_impossible_id_422(stage: Stage) -> None:
    for address in ("/v1/voicemails/4711", path("4711")):
        assert (await stage.reader.get(address)).status_code == 404
    assert (await stage.reader.get("/v1/voicemails/x")).status_code == 422


@pytest.mark.parametrize("fault", ["missing_permissions", "missing_scopes"])
async def test_a_forbidden_voicemail_says_what_to_do_and_is_requested_again_later(
    stage: Stage, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    voicemail_id = await left(stage)
    call_id = await due(stage, voicemail_id)
    stage.faults(**{fault: ("ReadMessages",)})
    await watcher(stage).step()
    shown = (await stage.reader.get(f"/v1/calls/{call_id}")).json()["voicemail"]
    assert shown["state"] == "no-permission"
    assert "ReadMessages" in shown["remedy"]
    answer = await stage.reader.get(path(voicemail_id))
    assert answer.status_code == 502
    stage.faults()
    later = stage.process.clock.now() + timedelta(hours=2)
    monkeypatch.setattr(stage.process.voicemails._clock, "now", lambda: later)
    shown = (await stage.reader.get(f"/v1/voicemails/{voicemail_id}")).json()
    assert (shown["state"], shown["remedy"]) == ("pending", None)
    await watcher(stage).step()
    shown = (await stage.reader.get(f"/v1/voicemails/{voicemail_id}")).json()
    assert (shown["state"], shown["problem"]) == ("ready", None)


async def test_a_user_without_company_permissions_cannot_read_the_mailbox_of_a_colleague(
    make_settings: Any, sqlite_url: str
) -> None:
    limited = simulated()
    async with staged(make_settings, sqlite_url, limited, rc_jwt=f"{limited.jwt}-limited") as stage:
        voicemail_id = await left(stage)
        call_id = await due(stage, voicemail_id)
        await watcher(stage).step()
        shown = (await stage.reader.get(f"/v1/calls/{call_id}")).json()["voicemail"]
        assert (shown["state"], shown["extensionId"] != BEN) == ("no-permission", True)
