"""Voicemails: messages of an extension's message store. Pure."""

from dataclasses import dataclass
from typing import Any

from app.ids import as_text
from app.ringcentral.models.fields import as_object, as_objects, read_address, read_seconds, read_text
from app.values import widths

AUDIO = "audiorecording"
TRANSCRIPTION = "audiotranscription"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A part of a message: its audio or its transcription. `uri` comes from outside, and may be missing."""

    id: str
    uri: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Voicemail:
    """A voicemail as the message store describes it.

    `transcription_status` is RingCentral's word: NotAvailable, InProgress, TimedOut, Completed,
    CompletedPartially, Failed or Unknown (API description 1.0.46).
    """

    id: str
    audio: Attachment | None = None
    transcription: Attachment | None = None
    duration_seconds: float | None = None
    transcription_status: str | None = None
    is_purged: bool = False


def read_voicemail(value: Any) -> Voicemail | None:
    """Read a message; None without an id."""
    fields = as_object(value)
    message_id = as_text(fields.get("id"))
    if message_id is None:
        return None
    parts: dict[str, tuple[Attachment, float | None]] = {}
    for item in as_objects(fields.get("attachments")):
        attachment_id, kind = as_text(item.get("id")), read_text(item.get("type"))
        if attachment_id is not None and kind is not None:
            attachment = Attachment(
                id=attachment_id,
                uri=read_address(item.get("uri")),
                content_type=read_text(item.get("contentType"), widths.CONTENT_TYPE),
            )
            parts.setdefault(kind.casefold(), (attachment, read_seconds(item.get("vmDuration"))))
    audio, duration = parts.get(AUDIO, (None, None))
    transcription, _ = parts.get(TRANSCRIPTION, (None, None))
    return Voicemail(
        id=message_id,
        audio=audio,
        transcription=transcription,
        duration_seconds=duration,
        transcription_status=read_text(fields.get("vmTranscriptionStatus"), widths.TRANSCRIPT_STATUS),
        is_purged=read_text(fields.get("availability")) == "Purged",
    )
