"""What a mapping file says, and the inputs and formats that it may use. Pure.

A file is read into a `CrmMapping` once, when the service starts. Everything that can be wrong with it is
found then: an unknown input, a format that does not fit the input, an outcome that nothing is said about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.calls.model import Outcome

Scalar = str | int | bool


class Crm(StrEnum):
    """A CRM that calls are projected for; each has a file in `mappings`."""

    HUBSPOT = "hubspot"
    SALESFORCE = "salesforce"
    PIPEDRIVE = "pipedrive"
    ZOHO = "zoho"
    ZENDESK = "zendesk"
    DYNAMICS = "dynamics"
    GENERIC = "generic"


class InputKind(StrEnum):
    """The kind of value that an input has. It decides which formats fit."""

    TEXT = "text"
    CHOICE = "choice"
    TIME = "time"
    SECONDS = "seconds"
    FLAG = "flag"
    NOTES = "notes"


@dataclass(frozen=True, slots=True)
class InputType:
    """An input about a call that a field can be filled from. `values`: all that a CHOICE can be."""

    kind: InputKind
    meaning: str
    values: frozenset[str] = frozenset()


_OUTCOMES = frozenset(outcome.value for outcome in Outcome)
IN_A_QUEUE = "abandoned in a queue"
IN_A_MENU = "abandoned in a menu"

INPUT_TYPES: Mapping[str, InputType] = {
    "callId": InputType(InputKind.TEXT, "our id of the call"),
    "guid": InputType(InputKind.TEXT, "a GUID made from our id, always the same"),
    "accountId": InputType(InputKind.TEXT, "RingCentral's id of the account"),
    "sessionId": InputType(InputKind.TEXT, "RingCentral's `sessionId`"),
    "title": InputType(InputKind.TEXT, "one line: what became of it, and with whom"),
    "notes": InputType(
        InputKind.NOTES, "a summary, the notes of the conversation, and a voicemail's transcript"
    ),
    "direction": InputType(InputKind.CHOICE, "`direction`", frozenset({"Inbound", "Outbound"})),
    "directionOrMissed": InputType(
        InputKind.CHOICE,
        "the direction; `Missed` for an inbound call that nobody answered",
        frozenset({"Inbound", "Outbound", "Missed"}),
    ),
    "directionOrInternal": InputType(
        InputKind.CHOICE,
        "the direction; `Internal` for a call between colleagues",
        frozenset({"Inbound", "Outbound", "Internal"}),
    ),
    "outcome": InputType(InputKind.CHOICE, "`outcome`", _OUTCOMES),
    "outcomeAndPlace": InputType(
        InputKind.CHOICE,
        "the outcome; of an abandoned call also where",
        _OUTCOMES - {Outcome.ABANDONED.value} | {IN_A_QUEUE, IN_A_MENU},
    ),
    "disposition": InputType(
        InputKind.TEXT, "the agent's disposition, also of a linked call, or else the outcome in words"
    ),
    "startTime": InputType(InputKind.TIME, "`startTime`"),
    "answerTime": InputType(InputKind.TIME, "`answerTime`"),
    "endTime": InputType(InputKind.TIME, "`endTime`, or else the start and RingCentral's duration"),
    "duration": InputType(InputKind.SECONDS, "see [durations](#durations)"),
    "talkSeconds": InputType(InputKind.SECONDS, "`talkSeconds`"),
    "holdSeconds": InputType(InputKind.SECONDS, "`holdSeconds`"),
    "fromNumber": InputType(InputKind.TEXT, "the caller's number in E.164, or extension"),
    "toNumber": InputType(InputKind.TEXT, "the number called in E.164, or extension"),
    "externalNumber": InputType(InputKind.TEXT, "`externalNumber`"),
    "externalName": InputType(InputKind.TEXT, "the name of the outside side"),
    "ownerEmail": InputType(InputKind.TEXT, "the e-mail of the call's owner"),
    "ownerName": InputType(InputKind.TEXT, "the owner's name"),
    "ownerExtensionId": InputType(InputKind.TEXT, "the owner's `extensionId`"),
    "queueName": InputType(InputKind.TEXT, "`queueName`"),
    "leftVoicemail": InputType(InputKind.FLAG, "whether the caller left a voicemail"),
    "recordingUrl": InputType(InputKind.TEXT, "the parameter `recordingUrl`, or else a listening link"),
    "appId": InputType(InputKind.TEXT, "the parameter `appId`"),
}
"""Every input, by the name that mapping files use."""

Format = Literal[
    "text",
    "integer",
    "html",
    "plain",
    "choice",
    "boolean",
    "utc",
    "utc without zone",
    "local",
    "local date",
    "unix milliseconds",
    "milliseconds",
    "seconds",
    "minutes",
    "mm:ss",
]

_TIMES = ("utc", "utc without zone", "local", "local date", "unix milliseconds")
_DURATIONS = ("milliseconds", "seconds", "minutes", "mm:ss")
FORMATS: Mapping[InputKind, tuple[str, ...]] = {
    InputKind.TEXT: ("text", "integer"),
    InputKind.CHOICE: ("choice",),
    InputKind.TIME: _TIMES,
    InputKind.SECONDS: _DURATIONS,
    InputKind.FLAG: ("boolean",),
    InputKind.NOTES: ("html", "plain"),
}
"""The formats that fit each kind of input."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldMapping(_Part):
    """One field of an object: a constant, or an input in a format.

    `values` has the CRM's word for each word of a choice, `without` those that it has none for. `not_for`
    leaves the field out, by another input's values. A `limit` counts UTF-16 code units, as CRMs do.
    """

    name: str
    input: str | None = None
    constant: Scalar | None = None
    format: Format = "text"
    as_text: bool = False
    required: bool = False
    limit: int | None = Field(None, ge=1)
    limit_is_ours: bool = False
    values: Mapping[str, Scalar] | None = None
    without: tuple[str, ...] = ()
    not_for: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.input is None) == (self.constant is None):
            raise ValueError(f"{self.name}: give an input or a constant")
        if self.input is not None:
            kind = kind_of(self.input)
            if self.format not in FORMATS[kind.kind]:
                raise ValueError(f"{self.name}: {self.format} does not fit {self.input}")
            told = {*(self.values or ()), *self.without}
            if kind.kind is InputKind.CHOICE and told != kind.values:
                raise ValueError(f"{self.name}: not as {self.input} can be: {sorted(told ^ kind.values)}")
        for key, values in self.not_for.items():
            if not kind_of(key).values.issuperset(values):
                raise ValueError(f"{self.name}: {key} cannot be one of {values}")
        return self


def kind_of(key: str) -> InputType:
    """Return the type of an input. Raises ValueError if there is none with this name."""
    if key not in INPUT_TYPES:
        raise ValueError(f"There is no input {key}")
    return INPUT_TYPES[key]


class ExternalIdMapping(_Part):
    """The field in which the CRM keeps ids of other systems; None if the object has none."""

    field: str | None = None
    input: str
    remark: str


class LookupMapping(_Part):
    """A field that takes an id of the CRM's own. The connector finds it by an input."""

    field: str
    what: Literal["owner", "contact"]
    by: str


class FollowUpMapping(_Part):
    """A request to send after the first one. `{guid}` in the path is the input."""

    method: Literal["PATCH"]
    path: str
    fields: tuple[FieldMapping, ...]


class ObjectMapping(_Part):
    """One kind of object that a CRM keeps calls in.

    `paths` has the path of each version of the CRM's API, the newest first; `path` the only one. The fields
    go into the body at `within`: names and positions with dots in between.
    """

    object: str
    title: str
    method: Literal["POST", "PATCH"] | None = None
    path: str | None = None
    paths: Mapping[str, str] = Field(default_factory=dict)
    within: str = ""
    sources: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    external_id: ExternalIdMapping
    lookups: tuple[LookupMapping, ...] = ()
    fields: tuple[FieldMapping, ...]
    follow_ups: tuple[FollowUpMapping, ...] = ()

    def has_input(self, key: str) -> bool:
        """Whether a field is filled from this input."""
        return any(field.input == key for field in self.fields)

    def path_of(self, version: str | None) -> str | None:
        """Return the path of a version of `paths`, or the only one."""
        return self.path if version is None else self.paths[version]


class CrmMapping(_Part):
    """A mapping file. The first object is the default."""

    crm: Crm
    name: str
    objects: tuple[ObjectMapping, ...] = Field(min_length=1)
