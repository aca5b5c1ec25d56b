"""Voicemails as the API shows them by themselves."""

from collections.abc import Sequence
from typing import Any

from pydantic import ConfigDict, Field

from app.calls.media.voicemails import OPEN, VoicemailRow, best_of
from app.calls.schemas import Voicemail
from app.calls.views import voicemail_json
from app.recordings_api.schemas import ArchivedOut, archived_json
from app.values.times import time_text


class VoicemailOut(Voicemail):
    """A voicemail, its state, and the requests for it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "1504832006",
                "callIds": ["call_01jp0v7s4v8x2m6c9q3t5r7w1e"],
                "extensionId": "711000101",
                "state": "ready",
                "duration": 23,
                "contentType": "audio/mpeg",
                "transcript": "Hello, this is Dana Field. Please call me back about the invoice.",
                "transcriptStatus": "Completed",
                "contentUrl": "/v1/voicemails/1504832006/content",
                "problem": None,
                "remedy": None,
                "attempts": 0,
                "nextLookAt": None,
                "archived": None,
                "createdAt": "2026-03-10T18:09:22.480Z",
                "updatedAt": "2026-03-10T18:10:20.112Z",
            }
        }
    )

    call_ids: list[str] = Field(description="The calls that name it.")
    attempts: int = Field(description="Requests since the last progress.")
    next_look_at: str | None = Field(description="When RingCentral is asked again.")
    archived: ArchivedOut | None
    created_at: str
    updated_at: str


def stored_json(rows: Sequence[VoicemailRow]) -> dict[str, Any]:
    """Show the stored rows of one voicemail as a VoicemailOut."""
    row = best_of(rows)
    return {
        **voicemail_json(row),
        "callIds": [one.call_id for one in rows],
        "attempts": row.attempts,
        "nextLookAt": time_text(row.due_at) if row.state in OPEN else None,
        "archived": archived_json(rows),
        "createdAt": time_text(row.created_at),
        "updatedAt": time_text(row.updated_at),
    }
