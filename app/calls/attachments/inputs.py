"""Request bodies of attachments, and the table columns that they become."""

import asyncio
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from app.api.schemas import ApiInput
from app.api.timestamps import Timestamp
from app.calls.attachments.fields import (
    LongText,
    OriginalJson,
    Score,
    Seconds,
    Share,
    ShortText,
    SourceName,
    Text,
    WebAddress,
)
from app.calls.attachments.rules.labels import read_label
from app.calls.attachments.rules.notes import NoteFormat, stored_texts
from app.calls.attachments.rules.sentiments import Maker, maker_of

_AUTHOR_FIELDS = ("id", "name", "email")


class Author(ApiInput):
    """The author, as the CRM knows them; at least one of the three fields."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {name: {"type": "string"}}, "required": [name]} for name in _AUTHOR_FIELDS
            ]
        }
    )

    id: ShortText | None = Field(None, examples=["711000101"])
    name: ShortText | None = Field(None, examples=["Ana Ruiz"])
    email: ShortText | None = Field(None, examples=["ana.ruiz@example.com"])

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if not (self.id or self.name or self.email):
            raise ValueError("An author must have an id, a name or an email")
        return self


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


AuthorField = Annotated[Author, BeforeValidator(_named, json_schema_input_type=Author | ShortText)]


_LONG_MARKUP = 4_096
"""Characters. Longer texts are read in a thread, so that other requests go on."""

_NOTE: JsonValue = {
    "text": "Dana wants an offer for 40 seats by Friday.",
    "title": "Offer for Field Ltd.",
    "format": "plain",
    "author": {"id": "711000101", "name": "Ana Ruiz"},
    "source": "hubspot",
    "externalId": "engagement-55120",
}


class NoteIn(ApiInput):
    """A new note."""

    model_config = ConfigDict(json_schema_extra={"examples": [_NOTE, {"text": "Call back on Friday."}]})

    text: LongText = Field(
        validation_alias=AliasChoices("text", "body"),
        description="The text of the note. `body` is accepted as another name of this field.",
    )
    title: ShortText | None = None
    format: NoteFormat = Field(
        NoteFormat.PLAIN,
        description="The format of `text`. HTML is sanitised before it is stored; other formats are stored "
        "unchanged.",
    )
    author: AuthorField | None = Field(None, description="An object, or just a name.")
    source: SourceName = Field("api", description="The system or role that the note comes from.")
    external_id: ShortText | None = Field(
        None,
        description="The id of the note in `source`. A new note with the same two values replaces it.",
    )
    created_at: Timestamp | None = Field(None, description="When the note was written. Default: now.")

    @model_validator(mode="before")
    @classmethod
    def _check_text(cls, value: Any) -> Any:
        if isinstance(value, dict) and "text" in value and "body" in value:
            raise ValueError("Send `text` or `body`, not both")
        return value

    def columns(self) -> dict[str, Any]:
        row = {
            **_columns(self, "title", "text", "source", "external_id"),
            "format": self.format.value,
            "author": _json(self.author),
        }
        return row if self.created_at is None else row | {"created_at": self.created_at}


async def stored_note(note: NoteIn) -> dict[str, Any]:
    """Return the columns of a new note. Call it outside of transactions: reading long markup takes a while.

    Raises Unprocessable, see `stored_texts`.
    """
    columns = note.columns()
    read: Callable[..., dict[str, Any]] = partial(stored_texts, note.format.value, note.text)
    is_long = note.format is not NoteFormat.PLAIN and len(note.text) > _LONG_MARKUP
    return columns | (await asyncio.to_thread(read) if is_long else read())


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class NotePatch(ApiInput):
    """Changes to a note; omitted fields keep their values (RFC 7396)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Dana wants 50 seats.", "title": None}]}
    )

    # Only the fields that were sent are read, so these defaults mean nothing and stay out of the description.
    text: LongText = Field("", description="Cannot be null.", json_schema_extra=_without_default)
    title: ShortText | None = None
    format: NoteFormat = Field(NoteFormat.PLAIN, json_schema_extra=_without_default)
    author: AuthorField | None = None

    def columns(self) -> dict[str, Any]:
        row = {
            **_columns(self, "title", "text"),
            "format": self.format.value,
            "author": _json(self.author),
        }
        return {name: value for name, value in row.items() if name in self.model_fields_set}


class ScopeType(StrEnum):
    CALL = "call"
    PARTY = "party"
    PERIOD = "period"


class ScopeIn(ApiInput):
    """What a sentiment is about: the whole call, one party, or a period of the call."""

    type: ScopeType = ScopeType.CALL
    party_id: ShortText | None = Field(None, description="The id of one of the call's `parties`.")
    extension_id: ShortText | None = None
    from_: Seconds | None = Field(None, alias="from", description="Seconds from the start of the call.")
    to: Seconds | None = Field(None, description="Seconds from the start of the call.")

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        someone = self.party_id or self.extension_id
        timed = self.from_ is not None or self.to is not None
        if self.type is ScopeType.CALL and (someone or timed):
            raise ValueError("Scope `call` must have no party and no times")
        if self.type is ScopeType.PARTY and (timed or not someone):
            raise ValueError("Scope `party` must have `partyId` or `extensionId`, and no times")
        if self.type is ScopeType.PERIOD and (self.from_ is None or self.to is None or self.from_ >= self.to):
            raise ValueError("Scope `period` must have `from` and a later `to`, in seconds")
        return self


class SentimentIn(ApiInput):
    """How the call went, according to one source."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"label": "positive", "score": 0.62, "confidence": 0.9},
                {
                    "label": "Frustrated",
                    "score": -0.7,
                    "scope": {
                        "type": "period",
                        "partyId": "p-a0c14f2b77d1ez1928b3f4c10z5e6f70000-1",
                        "from": 30,
                        "to": 55.5,
                    },
                },
            ]
        }
    )

    label: ShortText | None = Field(
        None,
        description="positive, neutral, negative or mixed, in any case. Any other word is stored as "
        "`original`, and the label follows from the score. If omitted, the label follows from the score.",
    )
    score: Score | None = Field(None, description="From -1 (negative) to 1 (positive).")
    confidence: Share | None = None
    made_by: Maker | None = Field(
        None,
        description="Who made it. If omitted, sources such as `agent:711000101` are a person, and all others "
        "a machine. A machine's sentiment never replaces a person's.",
    )
    scope: ScopeIn = Field(default_factory=lambda: ScopeIn(type=ScopeType.CALL))
    original: OriginalJson = Field(
        None, description="The source's own value, in any form. It is stored and returned unchanged."
    )

    @model_validator(mode="after")
    def _check_label(self) -> Self:
        read_label(self.label, self.score)
        return self

    def slot(self, source: str) -> Mapping[str, str]:
        """Return the place of this sentiment among those of its call."""
        return {"source": source, "made_by": maker_of(source, self.made_by).value}

    def columns(self) -> dict[str, Any]:
        # A word that is not a label is the source's own value, unless the source sent another one.
        label = read_label(self.label, self.score)
        own_word = self.label if self.label and self.label != label else None
        return {
            "label": label.value,
            "score": self.score,
            "confidence": self.confidence,
            "scope": _json(self.scope),
            "original": self.original if self.original is not None else own_word,
        }


class DispositionIn(ApiInput):
    """The result of the call, according to the agent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"code": "callback", "label": "Call back", "author": {"name": "Ana Ruiz"}}]
        }
    )

    code: Annotated[Text, StringConstraints(min_length=1, max_length=128)]
    label: ShortText | None = None
    author: AuthorField | None = Field(None, description="An object, or just a name.")

    def columns(self) -> dict[str, Any]:
        return {**_columns(self, "code", "label"), "author": _json(self.author)}


class LinkedObject(ApiInput):
    """One CRM object that the call was written to."""

    type: ShortText = Field(examples=["contact"])
    id: ShortText = Field(examples=["501"])
    url: WebAddress | None = None
    at: Timestamp | None = Field(None, description="When the call was written to it.")


class LinkIn(ApiInput):
    """The objects of one CRM that the call was written to. Replaces all earlier ones of that CRM."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "objects": [
                        {"type": "contact", "id": "501", "url": "https://crm.example.com/contacts/501"},
                        {"type": "task", "id": "88217", "at": "2026-03-10T18:09:30Z"},
                    ]
                }
            ]
        }
    )

    objects: list[LinkedObject] = Field(min_length=1, max_length=100)

    def columns(self) -> dict[str, Any]:
        return {"objects": [_json(item) for item in self.objects]}


def _columns(model: BaseModel, *names: str) -> dict[str, Any]:
    return {name: getattr(model, name) for name in names}


def _json(model: BaseModel | None) -> dict[str, Any] | None:
    return None if model is None else model.model_dump(mode="json", by_alias=True, exclude_none=True)
