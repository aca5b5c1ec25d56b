"""Voicemails: what the message store says, however it says it, and the requests for them."""

from typing import Any

import httpx
import pytest
import respx

from app.errors import ForeignHost, PermissionMissing
from app.ids import ExtensionId
from app.ringcentral.client import RingCentralClient
from app.ringcentral.models import Attachment, CallRecord, read_call_record, read_voicemail
from app.ringcentral.ports import Priority
from app.ringcentral.protocol.voicemails import content_address
from tests.unit.ringcentral.conftest import MEDIA, SERVER
from tests.unit.ringcentral.doubles import Ledger

ANA = ExtensionId("711000101")
PATH = "/restapi/v1.0/account/~/extension/711000101/message-store/1504832006"
MESSAGE: dict[str, Any] = {
    "id": 1504832006,
    "type": "VoiceMail",
    "availability": "Alive",
    "vmTranscriptionStatus": "Completed",
    "attachments": [
        {
            "id": 1504832006,
            "uri": f"{SERVER}{PATH}/content/1504832006",
            "type": "AudioRecording",
            "contentType": "audio/mpeg",
            "vmDuration": 23,
        },
        {"id": 15048320061, "type": "AudioTranscription", "contentType": "text/plain"},
    ],
}


def record(**message: Any) -> CallRecord:
    read = read_call_record({"id": "r", "message": message})
    assert isinstance(read, CallRecord)
    return read


def test_a_message_says_where_audio_and_transcript_are() -> None:
    found = read_voicemail(MESSAGE)
    assert found is not None
    assert (found.id, found.duration_seconds, found.transcription_status) == ("1504832006", 23.0, "Completed")
    assert found.audio == Attachment(
        id="1504832006", uri=f"{SERVER}{PATH}/content/1504832006", content_type="audio/mpeg"
    )
    assert found.transcription == Attachment(id="15048320061", content_type="text/plain")
    assert not found.is_purged


@pytest.mark.parametrize(
    "attachments", [None, "x", [], [None, 3], [{"id": "1"}], [{"type": "AudioRecording"}]]
)
def test_attachments_that_cannot_be_read_are_missing(attachments: object) -> None:
    found = read_voicemail({"id": "7", "attachments": attachments, "vmTranscriptionStatus": 5})
    assert found is not None
    assert (found.audio, found.transcription, found.transcription_status) == (None, None, None)


@pytest.mark.parametrize("value", [None, [], {}, {"id": None}, {"id": ""}])
def test_a_message_without_an_id_is_none(value: object) -> None:
    assert read_voicemail(value) is None


@pytest.mark.parametrize("kind", ["VoiceMail", "Voicemail"])
def test_a_record_names_a_voicemail_and_its_mailbox(kind: str) -> None:
    message = record(id=1504832006, type=kind, uri=f"{SERVER}{PATH}").message
    assert message is not None
    assert (message.id, message.extension_id, message.is_voicemail) == ("1504832006", ANA, True)


@pytest.mark.parametrize("uri", [None, 5, "", "https://x/extension/~/message-store/1"])
def test_a_message_without_a_usable_address_has_no_mailbox(uri: object) -> None:
    message = record(id="1", type="Fax", uri=uri).message
    assert message is not None
    assert (message.extension_id, message.is_voicemail) == (None, False)


async def test_a_voicemail_takes_a_light_request(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    ringcentral.get(PATH).mock(return_value=httpx.Response(200, json=MESSAGE))
    found = await client.fetch_voicemail(ANA, "1504832006")
    assert found == read_voicemail(MESSAGE)
    assert budget.acquired[-1] == ("Light", Priority.METADATA, None)


async def test_a_missing_voicemail_is_none_and_a_forbidden_one_an_error(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    refusal = {
        "errorCode": "InsufficientPermissions",
        "errors": [{"errorCode": "CMN-408", "permissionName": "ReadMessages"}],
    }
    ringcentral.get(PATH).mock(side_effect=[httpx.Response(404, json={}), httpx.Response(403, json=refusal)])
    assert await client.fetch_voicemail(ANA, "1504832006") is None
    with pytest.raises(PermissionMissing) as refused:
        await client.fetch_voicemail(ANA, "1504832006")
    assert (refused.value.permission, refused.value.code) == ("ReadMessages", "CMN-408")


async def test_content_takes_a_medium_request_and_honours_ranges(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    found = read_voicemail(MESSAGE)
    assert found is not None
    assert found.audio is not None
    assert found.transcription is not None
    audio = httpx.Response(206, content=b"abc", headers={"Content-Type": "audio/mpeg"})
    route = ringcentral.get(f"{PATH}/content/1504832006").mock(return_value=audio)
    address = content_address(ANA, found.id, found.audio)
    async with client.stream_voicemail(address, byte_range="bytes=0-2") as stream:
        assert b"".join([chunk async for chunk in stream.chunks]) == b"abc"
    assert route.calls.last.request.headers["range"] == "bytes=0-2"
    assert budget.acquired[-1] == ("Medium", Priority.CONTENT, None)
    text = httpx.Response(200, content="\ufeffGrüße, \x00 bye \n".encode() + b"\xff")
    ringcentral.get(f"{PATH}/content/15048320061").mock(return_value=text)
    address = content_address(ANA, found.id, found.transcription)
    assert await client.fetch_transcript(address) == "Grüße, \ufffd bye \n\ufffd"
    assert budget.acquired[-1] == ("Medium", Priority.METADATA, None)


async def test_redirected_content_is_fetched_from_configured_hosts_only(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    moved = httpx.Response(302, headers={"Location": f"{MEDIA}/there"})
    foreign = httpx.Response(302, headers={"Location": "https://bucket.example.net/there"})
    ringcentral.get(f"{PATH}/content/1").mock(side_effect=[moved, foreign])
    ringcentral.get(f"{MEDIA}/there").mock(return_value=httpx.Response(200, content=b"abc"))
    async with client.stream_voicemail(f"{PATH}/content/1") as stream:
        assert b"".join([chunk async for chunk in stream.chunks]) == b"abc"
    with pytest.raises(ForeignHost):
        async with client.stream_voicemail(f"{PATH}/content/1"):
            raise AssertionError
    with pytest.raises(ForeignHost):
        await client.fetch_transcript("https://evil.example.net/content")
