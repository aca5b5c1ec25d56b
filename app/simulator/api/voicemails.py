"""Request handlers of voicemails: messages of an extension's message store."""

from starlette.responses import JSONResponse, Response

from app.simulator.api.audio import respond_with_audio
from app.simulator.api.pipeline import ApiRequest, extension_of
from app.simulator.platform.errors import not_found
from app.simulator.platform.voicemails import (
    seconds_of,
    show_message,
    transcript,
    transcription_id,
    transcription_status,
)
from app.simulator.scripting.model import Json, Record
from app.simulator.simulator import Simulator


async def read_message(simulator: Simulator, request: ApiRequest) -> Response:
    """Return one voicemail as JSON."""
    return JSONResponse(_show(simulator, _find_record(simulator, request), request))


def _show(simulator: Simulator, record: Record, request: ApiRequest) -> Json:
    faults = simulator.faults
    status = transcription_status(record, simulator.settings.timing, faults.voicemail_transcript, request.now)
    return show_message(record, simulator.links, status, faults.recording_format)


def _find_record(simulator: Simulator, request: ApiRequest) -> Record:
    """Return the record of the voicemail in the path; raises Refused."""
    extension = extension_of(simulator, request)
    record = simulator.calls.ready_message(request.path["message"], request.now)
    if record is None or record.extension_id != extension.id or simulator.faults.voicemails_withheld:
        raise not_found("messageId")
    return record


async def read_message_content(simulator: Simulator, request: ApiRequest) -> Response:
    """Return the audio of a voicemail, or its transcript."""
    record = _find_record(simulator, request)
    wanted = request.path["attachment"]
    shown = _show(simulator, record, request)
    if wanted not in {str(attachment["id"]) for attachment in shown["attachments"]}:
        raise not_found("attachmentId")
    if wanted == transcription_id(record):
        return Response(transcript(record), headers={"Content-Type": "text/plain"})
    return respond_with_audio(simulator, request, str(record.message_id), float(seconds_of(record)))
