"""Request bodies of attachments."""

import re
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from app.calls.inputs import (
    MAX_TEXT,
    NEGATIVE_BELOW,
    POSITIVE_ABOVE,
    Input,
    Moment,
    Score,
    Share,
    ShortText,
    Source,
    Text,
    WebAddress,
    _positive_zero,
    _short_json,
)

_AUTHOR_FIELDS = ("id", "name", "email")


class Author(Input):
    """Who wrote it, as the CRM knows them; one of the three at least."""

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
    def _somebody(self) -> Self:
        if not (self.id or self.name or self.email):
            raise ValueError("An author has an id, a name or an email")
        return self


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


AuthorField = Annotated[Author, BeforeValidator(_named, json_schema_input_type=Author | ShortText)]


class NoteFormat(StrEnum):
    PLAIN = "plain"
    MARKDOWN = "markdown"
    HTML = "html"


NoteText = Annotated[Text, StringConstraints(min_length=1, max_length=MAX_TEXT)]


_NOTE: JsonValue = {
    "text": "Dana wants an offer for 40 seats by Friday.",
    "title": "Offer for Field Ltd.",
    "format": "plain",
    "author": {"id": "711000101", "name": "Ana Ruiz"},
    "source": "hubspot",
    "externalId": "engagement-55120",
}


class NoteIn(Input):
    """A new note."""

    model_config = ConfigDict(json_schema_extra={"examples": [_NOTE, {"text": "Call back on Friday."}]})

    text: NoteText = Field(
        validation_alias=AliasChoices("text", "body"), description="What it says. `body` is accepted, too."
    )
    title: ShortText | None = None
    format: NoteFormat = Field(NoteFormat.PLAIN, description="How `text` is to be read; kept as it comes.")
    author: AuthorField | None = Field(None, description="An object, or simply a name.")
    source: Source = Field("api", description="Which system or role it comes from.")
    external_id: ShortText | None = Field(
        None,
        description="The note's id in `source`; the two together make it the same note when it comes again.",
    )
    created_at: Moment | None = Field(None, description="When it was written, if not just now.")

    @model_validator(mode="before")
    @classmethod
    def _one_text(cls, value: Any) -> Any:
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


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class NotePatch(Input):
    """What to change of a note; a field that is left out stays (RFC 7396)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Dana wants 50 seats.", "title": None}]}
    )

    # The defaults mean nothing: only what was sent is read, so they stay out of the description.
    text: NoteText = Field("", description="Cannot be null.", json_schema_extra=_without_default)
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


class Label(StrEnum):
    """The words that sentiments are compared and filtered by."""

    POSITIVE = "positive"
    NEUTRAL = "neutral"
    NEGATIVE = "negative"
    MIXED = "mixed"


_WORDS = {
    **{label.value: label for label in Label},
    "pos": Label.POSITIVE,
    "verypositive": Label.POSITIVE,
    "slightlypositive": Label.POSITIVE,
    "neg": Label.NEGATIVE,
    "verynegative": Label.NEGATIVE,
    "slightlynegative": Label.NEGATIVE,
}


def read_label(label: str | None, score: float | None) -> Label:
    """Return the canonical label: of the word if we know it, else of the score.

    Raises ValueError when neither tells.
    """
    known = _WORDS.get(re.sub(r"[^a-z]", "", label.casefold())) if label else None
    if known is not None:
        return known
    if score is None:
        words = ", ".join(label.value for label in Label)
        raise ValueError(f"Send a label of {words}, or a score")
    if score > POSITIVE_ABOVE:
        return Label.POSITIVE
    return Label.NEGATIVE if score < NEGATIVE_BELOW else Label.NEUTRAL


class ScopeType(StrEnum):
    CALL = "call"
    PARTY = "party"
    PERIOD = "period"


Seconds = Annotated[
    float, Field(ge=0, le=1_000_000, allow_inf_nan=False, strict=True), AfterValidator(_positive_zero)
]


class ScopeIn(Input):
    """What a sentiment speaks of: the whole call, one side of it, or a stretch of it."""

    type: ScopeType = ScopeType.CALL
    party_id: ShortText | None = Field(None, description="As in the call's `parties`.")
    extension_id: ShortText | None = None
    from_: Seconds | None = Field(None, alias="from", description="Seconds from the start of the call.")
    to: Seconds | None = Field(None, description="Seconds from the start of the call.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        someone = self.party_id or self.extension_id
        timed = self.from_ is not None or self.to is not None
        if self.type is ScopeType.CALL and (someone or timed):
            raise ValueError("Scope `call` is the whole call: it has no party and no time")
        if self.type is ScopeType.PARTY and (timed or not someone):
            raise ValueError("Scope `party` needs partyId or extensionId, and has no time")
        if self.type is ScopeType.PERIOD and (self.from_ is None or self.to is None or self.from_ >= self.to):
            raise ValueError("Scope `period` needs `from` and a later `to`, in seconds")
        return self


class SentimentIn(Input):
    """How the call went, in the eyes of one source."""

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
        description="positive, neutral, negative or mixed, in any case. Another word is kept as `original`; "
        "the score then decides. Left out: the score decides.",
    )
    score: Score | None = Field(None, description="-1 (bad) to 1 (good).")
    confidence: Share | None = None
    scope: ScopeIn = Field(default_factory=lambda: ScopeIn(type=ScopeType.CALL))
    original: Annotated[JsonValue, AfterValidator(_short_json)] = Field(
        None, description="The source's own value, whatever it looks like; kept, never read."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        read_label(self.label, self.score)
        return self

    def columns(self) -> dict[str, Any]:
        label = read_label(self.label, self.score)
        own_word = self.label if self.label and self.label != label else None
        return {
            "label": label.value,
            "score": self.score,
            "confidence": self.confidence,
            "scope": _json(self.scope),
            "original": self.original if self.original is not None else own_word,
        }


class DispositionIn(Input):
    """What the agent says became of the call."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"code": "callback", "label": "Call back", "author": {"name": "Ana Ruiz"}}]
        }
    )

    code: Annotated[Text, StringConstraints(min_length=1, max_length=128)]
    label: ShortText | None = None
    author: AuthorField | None = Field(None, description="An object, or simply a name.")

    def columns(self) -> dict[str, Any]:
        return {**_columns(self, "code", "label"), "author": _json(self.author)}


class LinkedObject(Input):
    """One thing in the CRM that the call was written to."""

    type: ShortText = Field(examples=["contact"])
    id: ShortText = Field(examples=["501"])
    url: WebAddress | None = None
    at: Moment | None = Field(None, description="When it was written there.")


class LinkIn(Input):
    """Receipts: what was written where in one CRM. Replaces what was said before."""

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
