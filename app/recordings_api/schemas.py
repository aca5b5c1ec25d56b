"""Recordings as the API shows them."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ConfigDict, Field

from app.api.schemas import ApiModel
from app.calls.media.recordings import OPEN, RecordingRow, State, best_of
from app.calls.media.rows import MediaRow
from app.calls.schemas import RecordingState
from app.calls.views import content_url
from app.ringcentral.models import Recording
from app.values.times import time_text


class ArchivedOut(ApiModel):
    """The copy in the archive."""

    bytes: int = Field(examples=[736213])
    sha256: str = Field(description="Of the whole, in hex.")
    archived_at: str


class RecordingOut(ApiModel):
    """A recording and its state."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "3019664700",
                "callIds": ["call_01jp0v7s4v8x2m6c9q3t5r7w1e"],
                "state": "ready",
                "type": "Automatic",
                "contentType": "audio/mpeg",
                "duration": 92,
                "contentUrl": "/v1/recordings/3019664700/content",
                "attempts": 0,
                "nextLookAt": None,
                "problem": None,
                "archived": None,
                "createdAt": "2026-03-10T18:09:22.480Z",
                "updatedAt": "2026-03-10T18:10:20.112Z",
            }
        }
    )

    id: str
    call_ids: list[str] = Field(
        description="The calls that name it; empty if only RingCentral knows the recording."
    )
    state: RecordingState
    type: str | None = Field(description="RingCentral's word: Automatic or OnDemand.")
    content_type: str | None
    duration: float | None = Field(description="Seconds.")
    content_url: str | None = Field(
        description="Of this service; null when the audio is not available any more."
    )
    attempts: int = Field(description="Failed attempts since the last success.")
    next_look_at: str | None = Field(description="When RingCentral is asked again.")
    problem: str | None = Field(description="Why the last attempt failed.")
    archived: ArchivedOut | None
    created_at: str | None
    updated_at: str | None


def stored_json(rows: Sequence[RecordingRow]) -> dict[str, Any]:
    """Show the stored rows of one recording as a RecordingOut."""
    row = best_of(rows)
    archived = archived_json(rows)
    is_gone = row.state in {State.EXPIRED, State.NONE} and archived is None
    return {
        "id": row.recording_id,
        "callIds": [one.call_id for one in rows],
        "state": row.state,
        "type": row.type,
        "contentType": row.content_type,
        "duration": row.duration_seconds,
        "contentUrl": None if is_gone else content_url(row.recording_id),
        "attempts": row.attempts,
        "nextLookAt": time_text(row.due_at) if row.state in OPEN else None,
        "problem": row.problem,
        "archived": archived,
        "createdAt": time_text(row.created_at),
        "updatedAt": time_text(row.updated_at),
    }


def archived_json(rows: Iterable[MediaRow]) -> dict[str, Any] | None:
    """Show the copy in the archive as an ArchivedOut, if there is one."""
    archived = next((one for one in rows if one.archive_path is not None), None)
    if archived is None:
        return None
    return {
        "bytes": archived.archive_bytes,
        "sha256": archived.archive_sha256,
        "archivedAt": time_text(archived.archived_at),
    }


def live_json(found: Recording) -> dict[str, Any]:
    """Show a recording that only RingCentral knows as a RecordingOut."""
    unknown = ("nextLookAt", "problem", "archived", "createdAt", "updatedAt")
    return {
        "id": found.id,
        "callIds": [],
        "state": State.READY.value,
        "type": found.type,
        "contentType": found.content_type,
        "duration": found.duration_seconds,
        "contentUrl": content_url(found.id),
        "attempts": 0,
        **dict.fromkeys(unknown),
    }
