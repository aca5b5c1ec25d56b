"""Audio as a response: in the format and with the treatment of ranges that the faults select."""

from starlette.responses import Response

from app.simulator.api.pipeline import ApiRequest
from app.simulator.platform import audio
from app.simulator.platform.errors import Refused
from app.simulator.simulator import Simulator


def respond_with_audio(simulator: Simulator, request: ApiRequest, media_id: str, seconds: float) -> Response:
    """Return the audio of a recording or voicemail, or the requested part; raises Refused with CMN-107."""
    faults = simulator.faults
    form = faults.recording_format
    content = audio.make_audio(media_id, seconds, form)
    part = audio.choose_slice(request.http.headers.get("range"), len(content), faults.recording_range)
    if part is None:
        raise Refused(
            416,
            "CMN-107",
            "Requested range is not satisfiable",
            headers={"Content-Range": f"bytes */{len(content)}"},
        )
    headers = {"Content-Type": audio.CONTENT_TYPES[form]}
    if faults.recording_range != "ignored":
        headers["Accept-Ranges"] = "bytes"
    if part.status == 206:
        headers["Content-Range"] = f"bytes {part.first}-{part.last}/{len(content)}"
    disposition = request.query.one("contentDisposition")
    if disposition is not None:
        filename = f"{media_id}.{form}"
        headers["Content-Disposition"] = f'{disposition.lower()}; filename="{filename}"'
    response = Response(content[part.first : part.last + 1], part.status, headers)
    # Without the header the server sends the content in chunks.
    if not faults.recording_content_length:
        del response.headers["Content-Length"]
    return response
