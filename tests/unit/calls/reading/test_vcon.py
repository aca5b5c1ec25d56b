"""Calls as vCons, against the rules of draft-ietf-vcon-vcon-core-03.

The package `vcon` knows the syntax up to 0.3 (`make description` reads a call with it), so the rules
of the draft's objects are written here as models.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from app.calls.model import Outcome
from app.calls.reading.vcon import vcon_of
from app.calls.schemas import _CALL_EXAMPLE

PUBLIC = "https://calls.northwind-tea.example/"
NOTE = {"text": "Wants 40 seats", "format": "plain", "createdAt": "2026-03-10T18:10:02.125Z"}
INSIGHTS = {
    "recordingId": "3019664700",
    "transcript": [{"text": "Good morning."}],
    "summary": [{"value": "Solved"}],
    "nextSteps": [],
}
VOICEMAIL = {
    "id": "1504832006",
    "duration": 23,
    "contentType": "audio/mpeg",
    "transcript": "Call me back",
    "contentUrl": "/v1/voicemails/1504832006/content",
}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)


class Party(Strict):
    tel: str | None = Field(None, pattern=r"^\+[0-9]+$")
    name: str | None = None
    mailto: str | None = None
    type: Literal["person", "bot", "organization"] | None = None


class Dialog(Strict):
    type: Literal["recording", "text", "transfer", "incomplete", "recording-set"]
    start: AwareDatetime
    duration: float | None = Field(None, ge=0)
    parties: int | list[int]
    mediatype: str | None = None
    url: str | None = Field(None, pattern="^https://")
    disposition: (
        Literal["no-answer", "congestion", "failed", "busy", "hung-up", "voicemail-no-message"] | None
    ) = None

    @model_validator(mode="after")
    def _check(self) -> "Dialog":
        assert (self.disposition is not None) == (self.type == "incomplete")
        assert self.type != "incomplete" or (self.url is None and self.mediatype is None)
        return self


class Content(Strict):
    dialog: int
    mediatype: str
    encoding: Literal["base64url", "json", "none"]
    body: Any

    @model_validator(mode="after")
    def _check(self) -> "Content":
        assert self.encoding == "json" or isinstance(self.body, str)
        return self


class Analysis(Content):
    type: Literal["report", "sentiment", "summary", "transcript", "translation", "tts"]
    vendor: str


class Attachment(Content):
    purpose: str
    start: AwareDatetime
    party: int


class Vcon(Strict):
    vcon: Literal["0.4.0"]
    uuid: UUID
    created_at: AwareDatetime
    subject: str
    parties: list[Party]
    dialog: list[Dialog]
    analysis: list[Analysis]
    attachments: list[Attachment]

    @model_validator(mode="after")
    def _check(self) -> "Vcon":
        parties, dialogs = range(len(self.parties)), range(len(self.dialog))
        for dialog in self.dialog:
            named = dialog.parties if isinstance(dialog.parties, list) else [dialog.parties]
            assert set(named) <= set(parties)
        assert {one.dialog for one in [*self.analysis, *self.attachments]} <= set(dialogs)
        assert {one.party for one in self.attachments} <= set(parties)
        return self


def make(public_url: str | None = PUBLIC, insights: Any = (), **fields: Any) -> Vcon:
    return Vcon.model_validate(vcon_of(_CALL_EXAMPLE | fields, insights, public_url))


def test_a_call_has_its_parties_recordings_analyses_and_notes() -> None:
    mood = {"source": "hubspot", "label": "positive", "score": 0.6, "confidence": None}
    made = make(insights=[INSIGHTS], notes=[NOTE], sentiments=[mood])
    assert made.created_at == datetime.fromisoformat(_CALL_EXAMPLE["updatedAt"])
    dana, ana, service = made.parties
    assert (dana.tel, dana.name, dana.mailto) == ("+15550179001", "Dana Field", None)
    assert (ana.tel, ana.name, ana.mailto) == ("+15550100101", "Ana Ruiz", "ana@example.com")
    (recording,) = made.dialog
    assert recording.url == f"{PUBLIC}v1/recordings/3019664700/content"
    assert (recording.duration, recording.mediatype, recording.parties) == (92, "audio/mpeg", [0, 1])
    assert [(one.type, one.vendor) for one in made.analysis] == [
        ("transcript", "RingCentral"),
        ("summary", "RingCentral"),
        ("sentiment", "hubspot"),
    ]
    note, call = made.attachments
    assert (note.body, made.parties[note.party]) == ("Wants 40 seats", service)
    assert call.body["id"] == _CALL_EXAMPLE["id"]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_without_audio_is_a_dialog(outcome: Outcome) -> None:
    nobody: dict[str, Any] = {"from": None, "to": None, "agents": [], "agent": None, "answerTime": None}
    for parts in ({}, nobody):
        made = make(PUBLIC, [], outcome=outcome.value, recordings=[], **parts)
        assert len(made.dialog) == 1


def test_a_voicemail_is_a_recording_of_the_caller_with_its_transcript() -> None:
    made = make(outcome="voicemail", recordings=[], voicemail=VOICEMAIL)
    (dialog,) = made.dialog
    assert (dialog.type, dialog.parties, dialog.duration) == ("recording", 0, 23)
    assert [(one.type, one.body) for one in made.analysis] == [("transcript", {"text": "Call me back"})]


def test_only_https_is_referred_to() -> None:
    for public_url in (None, "http://127.0.0.1:8000"):
        assert make(public_url).dialog[0].url is None


def test_each_version_is_a_vcon_of_its_own() -> None:
    assert make().uuid == make().uuid
    assert make().uuid != make(version=5).uuid
