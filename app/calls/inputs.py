"""What callers may send to be attached to calls, and the table columns that it becomes.

Texts keep every character that both databases can store; NUL and halves of surrogate pairs are refused in
plain words. A misspelt field is refused, not dropped.
"""

import json
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)
from pydantic.alias_generators import to_camel

from app.calls.model import time_text
from app.values.exact_json import find_text_fault
from app.values.storable import find_unstorable

MAX_TEXT = 65_536
_MAX_ORIGINAL_BYTES = 8_192
SOURCE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@+~-]*$"
_YEARS = range(1970, 2200)
POSITIVE_ABOVE = 0.2
NEGATIVE_BELOW = -0.2


def _storable_text(value: str) -> str:
    if fault := find_text_fault(value):
        raise ValueError(fault)
    return value


def _written_time(value: Any) -> Any:
    # A bare number would be read as seconds or milliseconds, whichever looks likelier.
    if not isinstance(value, str | datetime):
        raise ValueError("A time is text as RFC 3339 has it, such as 2026-03-10T18:09:30Z")  # noqa: TRY004 - pydantic's protocol
    return value


def _in_our_times(value: datetime) -> datetime:
    if value.year not in _YEARS:
        raise ValueError(f"The year must lie between {_YEARS[0]} and {_YEARS[-1]}")
    return value


def _web_address(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise ValueError("This is not an address") from error
    if parts.scheme not in {"http", "https"} or not parts.netloc or not value.isprintable():
        raise ValueError("An address begins with http:// or https://")
    return value


def _short_json(value: Any) -> Any:
    if fault := find_unstorable(value):
        raise ValueError(f"This cannot be kept: it holds {fault}")
    if len(json.dumps(value)) > _MAX_ORIGINAL_BYTES:
        raise ValueError(f"At most {_MAX_ORIGINAL_BYTES} bytes of JSON are kept as original")
    return value


def _positive_zero(value: float) -> float:
    # SQLite and PostgreSQL do not agree on -0.0, which means nothing here.
    return value + 0.0


Score = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False, strict=True), AfterValidator(_positive_zero)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True), AfterValidator(_positive_zero)]
Text = Annotated[str, AfterValidator(_storable_text)]
ShortText = Annotated[Text, StringConstraints(min_length=1, max_length=256)]
Source = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=SOURCE_PATTERN)]
"""Who says it: a system or a role, such as `hubspot`, `ringsense` or `agent:711000101`."""
WebAddress = Annotated[
    Text,
    StringConstraints(max_length=2_048),
    AfterValidator(_web_address),
    Field(json_schema_extra={"format": "uri", "pattern": "^https?://[!-~]"}),
]
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_written_time),
    AfterValidator(_in_our_times),
    PlainSerializer(time_text),
]
"""A point in time with its offset; kept and shown in UTC."""


class Input(BaseModel):
    """A body of a request: camelCase, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")
