"""Voicemails: messages of an extension's message store, and their content. Pure."""

from app.ids import ExtensionId
from app.ringcentral.models import Attachment, Voicemail, read_voicemail
from app.ringcentral.protocol.recordings import CONTENT_ROUTE
from app.ringcentral.protocol.requests import get, owner_path, path_segment
from app.ringcentral.protocol.responses import read_with
from app.ringcentral.wire import LIGHT, MEDIUM, Request, Response
from app.values.storable import storable_text

LONGEST_TRANSCRIPT = 100_000
"""Characters that are kept of a transcript."""


def voicemail(extension_id: ExtensionId, message_id: str) -> Request:
    """Request a voicemail. Requires the app scope and the user permission ReadMessages."""
    path, route = _message(extension_id, message_id)
    return get(path, route, LIGHT)


def content_address(extension_id: ExtensionId, message_id: str, attachment: Attachment) -> str:
    """Return where the content of an attachment is: as RingCentral says, or by the documented path."""
    if attachment.uri is not None:
        return attachment.uri
    path, _ = _message(extension_id, message_id)
    return f"{path}/content/{path_segment(attachment.id)}"


def voicemail_content(address: str, byte_range: str | None = None) -> Request:
    """Request the content of an attachment; the sender checks the host."""
    # A range counts bytes of the audio itself, so it must not be compressed on the way.
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    headers |= {"Range": byte_range} if byte_range else {}
    return Request(method="GET", url=address, route=CONTENT_ROUTE, group=MEDIUM, headers=headers)


def decode_voicemail(response: Response) -> Voicemail:
    return read_with(response, read_voicemail, "the voicemail")


def decode_transcript(response: Response) -> str | None:
    """Read a transcript, which is plain text; None if it is empty. Bytes that are not UTF-8 are replaced."""
    text = response.body.decode("utf-8-sig", "replace").strip()
    return storable_text(text, LONGEST_TRANSCRIPT) if text else None


def _message(extension_id: ExtensionId, message_id: str) -> tuple[str, str]:
    path, route = owner_path(extension_id)
    return f"{path}/message-store/{path_segment(message_id)}", f"{route}/message-store/{{messageId}}"
