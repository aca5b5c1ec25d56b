"""What the models of all requests and responses share. Field names are camelCase on the wire."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from app.values.times import time_text

_ID = re.compile(r"[0-9]{1,32}")

Instant = Annotated[
    datetime, PlainSerializer(time_text), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""A point in time in a response: UTC, always with milliseconds and `Z`."""


def _decimal(what: str, example: str) -> AfterValidator:
    def check(value: str) -> str:
        if not _ID.fullmatch(value):
            raise ValueError(f"Must be RingCentral's id of {what}, which has only digits, such as {example}")
        return value

    return AfterValidator(check)


_DIGITS = Field(json_schema_extra={"pattern": f"^{_ID.pattern}$"})
ExtensionIdText = Annotated[str, _decimal("an extension", "711000101"), _DIGITS]
RecordingIdText = Annotated[str, _decimal("a recording", "3019664700"), _DIGITS]
VoicemailIdText = Annotated[str, _decimal("a voicemail", "1504832006"), _DIGITS]
"""RingCentral's ids of extensions, recordings and messages are decimal text; anything else cannot exist."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Marks an `int` of a request body: a whole number between two limits, which may be written as 20 or as
    20.0, since JSON does not tell them apart. Texts and booleans are refused, and so are fractions.
    """

    least: int
    most: int

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        number = core_schema.int_schema(strict=True, ge=self.least, le=self.most)
        return core_schema.no_info_before_validator_function(_without_fraction, number)


def _without_fraction(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


_NULL = "\u2400null"


def hide_nulls(example: Any) -> Any:
    """Replace each null of an example by a text: FastAPI removes fields that are null, also from examples."""
    if isinstance(example, Mapping):
        return {name: hide_nulls(value) for name, value in example.items()}
    if isinstance(example, list):
        return [hide_nulls(value) for value in example]
    return _NULL if example is None else example


def show_nulls(description: Any) -> Any:
    """Return an API description with the nulls that `hide_nulls` has replaced."""
    if isinstance(description, dict):
        return {name: show_nulls(value) for name, value in description.items()}
    if isinstance(description, list):
        return [show_nulls(value) for value in description]
    return None if description == _NULL else description


class _Described(BaseModel):
    """A model whose JSON schema has no `default`: some generators take a field with one for required."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> dict[str, Any]:
        schema = handler(core_schema)
        described = handler.resolve_ref_schema(schema)
        for word in ("example", "examples"):
            if word in described:
                described[word] = hide_nulls(described[word])
        for name, field in described.get("properties", {}).items():
            default = field.pop("default", None)
            if default is not None:
                cls._describe_default(field, default)
            # A title that repeats the name of the field says nothing.
            if field.get("title", "").replace(" ", "").casefold() == name.replace("_", "").casefold():
                del field["title"]
        return schema

    @classmethod
    def _describe_default(cls, field: dict[str, Any], default: Any) -> None:
        """Say in the description of a field what it is by default."""


class ApiModel(_Described):
    """The base of all responses."""


class OpenModel(ApiModel):
    """An object that may carry further fields of RingCentral's."""

    model_config = ConfigDict(extra="allow")


class ApiInput(_Described):
    """The base of all request bodies: unknown fields are refused, not dropped."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def _describe_default(cls, field: dict[str, Any], default: Any) -> None:
        shown = default if isinstance(default, str) else json.dumps(default)
        words = (field.get("description"), f"Default: `{shown}`.")
        field["description"] = " ".join(word for word in words if word)


Item = TypeVar("Item")


class Page(ApiModel, Generic[Item]):
    """A page of a list. All lists have this form, also those of which all is on one page."""

    data: list[Item]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last page.")
