"""Requesting voicemails until they are ready or given up, and what that means for the call."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.accounts.access import Access, Level
from app.calls.media import voicemails
from app.calls.media.voicemails import VoicemailRow
from app.calls.model import Outcome
from app.enrichment.voicemails.watcher import VoicemailPlan, VoicemailWatcher
from app.errors import CredentialsRefused, PermissionMissing, RateLimited, RingCentralUnreachable
from app.ids import AccountId, ExtensionId
from tests.factories_calls import ACCOUNT, ANA, BEN
from tests.fakes.context import accounts_context
from tests.fakes.desk import Desk, limit_to
from tests.integration.enrichment.call_log.test_reader import detailed, read_for

PLAN = VoicemailPlan(gaps=(60.0, 120.0, 300.0), transcript_gaps=(30.0, 60.0))
URI = f"https://platform.ringcentral.com/restapi/v1.0/account/1/extension/{ANA}/message-store/77"
NAMED: dict[str, Any] = {"result": "Voicemail", "message": {"id": "77", "type": "VoiceMail", "uri": URI}}
ADDRESS = f"/restapi/v1.0/account/~/extension/{ANA}/message-store/77/content"
ASKED = f"voicemail 77 of {ANA}"


def message(status: str | None = "Completed", *, has_text: bool = True) -> dict[str, Any]:
    """A voicemail as RingCentral shows it."""
    parts = [{"id": "77", "type": "AudioRecording", "contentType": "audio/mpeg", "vmDuration": 23}]
    parts += [{"id": "78", "type": "AudioTranscription", "contentType": "text/plain"}] if has_text else []
    return {"id": "77", "attachments": parts, "vmTranscriptionStatus": status}


@pytest.fixture
def watcher(desk: Desk) -> VoicemailWatcher:
    desk.ringcentral.transcripts[f"{ADDRESS}/78"] = "Please call me back."
    return VoicemailWatcher(accounts_context(desk.database, desk.clock, desk.connections), PLAN)


async def row(desk: Desk) -> VoicemailRow:
    async with desk.database.read() as db:
        (found,) = await voicemails.load(db, AccountId(ACCOUNT), "77")
    return found


async def read_call(desk: Desk, **fields: Any) -> None:
    """A call has ended, and its record names a voicemail."""
    await desk.end_call(outcome=Outcome.VOICEMAIL)
    desk.ringcentral.log = [detailed(desk, **NAMED | fields)]
    desk.clock.advance(121)
    await desk.reader.step()


async def work_for(desk: Desk, watcher: VoicemailWatcher, seconds: float) -> None:
    until = desk.clock.now() + timedelta(seconds=seconds)
    while desk.clock.now() < until:
        pause = await watcher.step()
        left = (until - desk.clock.now()).total_seconds()
        desk.clock.advance(min(left, 60.0 if pause is None else max(0.1, pause)))


async def test_a_voicemail_becomes_ready_with_its_transcript(desk: Desk, watcher: VoicemailWatcher) -> None:
    await read_call(desk)
    assert (await desk.call()).readiness["voicemail"]["state"] == "pending"
    desk.ringcentral.voicemails["77"] = message()
    await watcher.step()
    call, found = await desk.call(), await row(desk)
    assert call.readiness["voicemail"]["state"] == "ready"
    assert (await desk.events(call))[-1] == "voicemail.ready"
    assert (found.state, found.extension_id, found.due_at, found.problem) == ("ready", ANA, None, None)
    assert (found.duration_seconds, found.content_type) == (23.0, "audio/mpeg")
    assert (found.transcript, found.transcript_status) == ("Please call me back.", "Completed")
    assert found.content_uri == f"{ADDRESS}/77"
    assert await watcher.step() is None, "nothing is left to do"


async def test_a_call_is_final_only_with_its_voicemail(desk: Desk, watcher: VoicemailWatcher) -> None:
    await read_call(desk)
    await read_for(desk, 600)
    assert (await desk.call()).stage == "reconciled"
    desk.ringcentral.voicemails["77"] = message()
    await watcher.step()
    call = await desk.call()
    assert call.stage == "final"
    assert (await desk.events(call))[-2:] == ["voicemail.ready", "call.final"]


async def test_a_transcript_in_progress_can_be_played_and_is_requested_a_few_times(
    desk: Desk, watcher: VoicemailWatcher
) -> None:
    await read_call(desk)
    desk.ringcentral.voicemails["77"] = message("InProgress", has_text=False)
    await watcher.step()
    call, found = await desk.call(), await row(desk)
    assert (found.state, found.transcript_status) == ("pending", "InProgress")
    assert found.content_uri == f"{ADDRESS}/77"
    assert (await desk.events(call))[-1] == "voicemail.pending"
    desk.ringcentral.voicemails["77"] = message("CompletedPartially")
    await work_for(desk, watcher, 31)
    found = await row(desk)
    assert (found.state, found.transcript) == ("ready", "Please call me back.")


async def test_a_transcript_that_never_comes_is_given_up(desk: Desk, watcher: VoicemailWatcher) -> None:
    await read_call(desk)
    desk.ringcentral.voicemails["77"] = message("InProgress", has_text=False)
    await work_for(desk, watcher, 3600)
    found = await row(desk)
    assert desk.ringcentral.asked.count(ASKED) == 1 + len(PLAN.transcript_gaps)
    assert (found.state, found.transcript_status, found.problem) == ("ready", "InProgress", "transcript-late")
    assert (await desk.call()).readiness["voicemail"]["state"] == "ready"


@pytest.mark.parametrize("status", ["NotAvailable", "Failed", "TimedOut", "Unknown", "Novel", None])
async def test_other_states_of_a_transcript_settle_the_voicemail(
    desk: Desk, watcher: VoicemailWatcher, status: str | None
) -> None:
    await read_call(desk)
    desk.ringcentral.voicemails["77"] = message(status, has_text=False)
    await watcher.step()
    found = await row(desk)
    assert (found.state, found.transcript, found.transcript_status) == ("ready", None, status)
    assert "transcript" not in desk.ringcentral.asked


async def test_a_missing_voicemail_is_requested_with_growing_gaps_and_given_up(
    desk: Desk, watcher: VoicemailWatcher
) -> None:
    await read_call(desk)
    began, asked = desk.clock.now(), []
    for _ in range(200):
        before = desk.ringcentral.asked.count(ASKED)
        await watcher.step()
        if desk.ringcentral.asked.count(ASKED) > before:
            asked.append((desk.clock.now() - began).total_seconds())
        desk.clock.advance(10)
    assert asked == [0, 120, 420]
    call = await desk.call()
    assert call.readiness["voicemail"]["state"] == "expired"
    assert call.readiness["voicemail"]["reason"] == "not there"
    assert (await desk.events(call))[-1] == "voicemail.expired"


async def test_without_permission_the_voicemail_says_so_and_is_not_requested_again(
    desk: Desk, watcher: VoicemailWatcher
) -> None:
    await read_call(desk)
    await read_for(desk, 600)
    desk.ringcentral.failures[ASKED] = PermissionMissing("no", permission="ReadMessages", code="CMN-408")
    await watcher.step()
    problem = await desk.problem()
    assert problem is not None
    assert "ReadMessages" in problem["detail"], "operators see what to grant"
    await work_for(desk, watcher, 7200)
    call, found = await desk.call(), await row(desk)
    assert desk.ringcentral.asked.count(ASKED) == 1
    assert (found.state, found.problem, found.due_at) == ("no-permission", "CMN-408", None)
    readiness = call.readiness["voicemail"]
    assert (readiness["state"], readiness["reason"]) == ("none", "CMN-408")
    assert (await desk.events(call))[-2:] == ["voicemail.refused", "call.final"]


async def test_credentials_of_another_extension_are_not_tried(desk: Desk, watcher: VoicemailWatcher) -> None:
    await read_call(desk)
    await limit_to(desk, BEN)
    await watcher.step()
    found = await row(desk)
    assert (found.state, found.problem) == ("no-permission", "no-credentials")
    assert not any(one.startswith("voicemail") for one in desk.ringcentral.asked)
    assert ANA in voicemails.remedy_of(found.problem, found.extension_id)


async def test_the_owner_is_asked_where_the_administrator_is_refused(
    desk: Desk, watcher: VoicemailWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read_call(desk)
    asked = []
    (administrator,) = await desk.connections.of(AccountId(ACCOUNT))
    owner_access = Access(Level.EXTENSION, ExtensionId(ANA), owner_id=ExtensionId(ANA))

    class Owner:
        async def fetch_voicemail(self, *_: Any, **__: Any) -> None:
            asked.append("owner")

    class Administrator:
        async def fetch_voicemail(self, *_: Any, **__: Any) -> None:
            asked.append("administrator")
            raise PermissionMissing("no", permission="ReadMessages", code="CMN-408")

    both = [
        replace(administrator, name="administrator", client=Administrator()),  # type: ignore[arg-type]
        replace(administrator, name="owner", client=Owner(), access=owner_access),  # type: ignore[arg-type]
    ]

    async def of(*_: Any) -> Any:
        return both

    monkeypatch.setattr(desk.connections, "of", of)
    await watcher.step()
    assert asked == ["owner"], "the mailbox's own user comes first"
    both[1] = replace(both[1], client=Administrator())  # type: ignore[arg-type]
    desk.clock.advance(130)
    await watcher.step()
    assert asked == ["owner", "administrator", "administrator"]
    assert (await row(desk)).state == "no-permission"


@pytest.mark.parametrize(
    "failure", [RingCentralUnreachable("down"), CredentialsRefused("no", code="OAU-213")]
)
async def test_an_outage_is_not_counted_and_is_waited_for_up_to_a_limit(
    desk: Desk, watcher: VoicemailWatcher, failure: Exception
) -> None:
    await read_call(desk)
    desk.ringcentral.failures[ASKED] = failure
    await watcher.step()
    found = await row(desk)
    assert (found.state, found.attempts) == ("pending", 0)
    assert found.due_at == desk.clock.now() + timedelta(seconds=60)
    desk.clock.advance(PLAN.longest_outage.total_seconds() + 1)
    desk.ringcentral.failures[ASKED] = failure
    await watcher.step()
    assert (await row(desk)).state == "expired"


async def test_a_rate_limit_puts_the_request_off(desk: Desk, watcher: VoicemailWatcher) -> None:
    await read_call(desk)
    until = desk.clock.now() + timedelta(seconds=40)
    desk.ringcentral.failures[ASKED] = RateLimited("wait", retry_at=until)
    await watcher.step()
    found = await row(desk)
    assert (found.state, found.attempts, found.due_at) == ("pending", 0, until)
    desk.ringcentral.voicemails["77"] = message()
    await work_for(desk, watcher, 60)
    assert (await row(desk)).state == "ready"


async def test_a_voicemail_that_no_record_names_does_not_keep_the_call_open(desk: Desk) -> None:
    await read_call(desk, message=None)
    readiness = (await desk.call()).readiness["voicemail"]
    assert (readiness["state"], readiness["reason"]) == ("pending", "not-named")
    await read_for(desk, 600)
    call = await desk.call()
    assert call.stage == "final"
    readiness = call.readiness["voicemail"]
    assert (readiness["state"], readiness["reason"]) == ("none", "not-named")


async def test_a_voicemail_named_after_the_end_of_reading_is_requested(
    desk: Desk, watcher: VoicemailWatcher
) -> None:
    await read_call(desk)
    desk.ringcentral.voicemails["77"] = message()
    await watcher.step()
    await read_for(desk, 600)
    assert (await desk.call()).stage == "final"
    assert (await row(desk)).state == "ready", "records that name it again do not change it"


async def test_a_fax_is_no_voicemail(desk: Desk) -> None:
    await read_call(desk, result="Accepted", message={"id": "77", "type": "Fax", "uri": URI})
    assert (await desk.call()).readiness["voicemail"]["state"] == "none"
    async with desk.database.read() as db:
        assert await voicemails.load(db, AccountId(ACCOUNT), "77") == []
