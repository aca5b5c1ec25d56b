"""Recordings: their metadata and their audio. Pure."""

from app.ringcentral.models import Recording, read_recording
from app.ringcentral.protocol.requests import get, owner_path, path_segment
from app.ringcentral.protocol.responses import read_with
from app.ringcentral.wire import HEAVY, Request, Response

CONTENT_ROUTE = "{contentUri}"


def recording(recording_id: str) -> Request:
    """Request a recording's metadata."""
    path, route = owner_path()
    return get(f"{path}/recording/{path_segment(recording_id)}", f"{route}/recording/{{recordingId}}", HEAVY)


def recording_content(content_uri: str, byte_range: str | None = None) -> Request:
    """Request a recording's audio at the address that RingCentral gave; the sender checks the host."""
    # A range counts bytes of the audio itself, so it must not be compressed on the way.
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    headers |= {"Range": byte_range} if byte_range else {}
    return Request(method="GET", url=content_uri, route=CONTENT_ROUTE, group=HEAVY, headers=headers)


def decode_recording(response: Response) -> Recording:
    return read_with(response, read_recording, "the recording")
