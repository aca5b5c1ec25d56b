"""Voicemails as the message store shows them. No I/O, no clock.

The fields are those of the API description 1.0.46 (`GetMessageInfoResponse`, `MessageAttachmentInfo`). That a
transcript is InProgress before it is Completed follows from its `vmTranscriptionStatus`.
"""

from datetime import datetime

from app.simulator.platform.audio import CONTENT_TYPES, AudioFormat
from app.simulator.platform.views import Links, iso, message_ready_at
from app.simulator.scripting.model import Json, Record
from app.simulator.timing import Timing

IN_PROGRESS = "InProgress"
_WITH_TEXT = ("Completed", "CompletedPartially")


def seconds_of(record: Record) -> int:
    """Return the length of the voicemail in whole seconds."""
    return record.final.legs[-1].summary.duration or 1


def transcription_status(record: Record, timing: Timing, outcome: str, now: datetime) -> str:
    """Return the state of the transcript: InProgress at first, then `outcome`."""
    ready_at = message_ready_at(record, timing)
    if ready_at is None or now < record.after(ready_at, timing.transcript_delay):
        return IN_PROGRESS
    return outcome


def transcription_id(record: Record) -> str:
    """Return the id of the attachment with the transcript; that of the audio is the message's own."""
    return f"{record.message_id}1"


def transcript(record: Record) -> str:
    """Return what the caller said."""
    number = record.final.summary.sender.get("phoneNumber", "an unknown number")
    return f"Hello, please call me back. My number is {number}. This is message {record.message_id}."


def show_message(record: Record, links: Links, status: str, form: AudioFormat) -> Json:
    """Return the message as JSON."""
    address = links.message(record.extension_id, str(record.message_id))
    attachments: list[Json] = [
        {
            "id": int(str(record.message_id)),
            "uri": f"{address}/content/{record.message_id}",
            "type": "AudioRecording",
            "contentType": CONTENT_TYPES[form],
            "vmDuration": seconds_of(record),
        }
    ]
    if status in _WITH_TEXT:
        attachments.append(
            {
                "id": int(transcription_id(record)),
                "uri": f"{address}/content/{transcription_id(record)}",
                "type": "AudioTranscription",
                "contentType": "text/plain",
                "vmDuration": seconds_of(record),
                "fileName": "transcription",
            }
        )
    summary = record.final.summary
    return {
        "uri": address,
        "id": int(str(record.message_id)),
        "extensionId": record.extension_id,
        "to": [dict(summary.receiver)],
        "from": dict(summary.sender),
        "type": "VoiceMail",
        "creationTime": iso(record.session.ended_at),
        "lastModifiedTime": iso(record.session.ended_at),
        "readStatus": "Unread",
        "priority": "Normal",
        "availability": "Alive",
        "attachments": attachments,
        "vmTranscriptionStatus": status,
    }
