"""The types of fields in request bodies.

Text is stored with every character that both databases can store; NUL and lone surrogates are refused.
"""

import json
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from app.values.exact_json import find_text_fault
from app.values.storable import find_unstorable

SOURCE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@+~-]*$"
_MAX_ORIGINAL_BYTES = 8_192


def _check_text(value: str) -> str:
    if fault := find_text_fault(value):
        raise ValueError(fault)
    return value


def _check_address(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise ValueError("Must be a URL") from error
    if parts.scheme not in {"http", "https"} or not parts.netloc or not value.isprintable():
        raise ValueError("Must be a URL that starts with http:// or https://")
    return value


def _check_json(value: Any) -> Any:
    if fault := find_unstorable(value):
        raise ValueError(f"This cannot be stored: it contains {fault}")
    if len(json.dumps(value)) > _MAX_ORIGINAL_BYTES:
        raise ValueError(f"Must be at most {_MAX_ORIGINAL_BYTES} bytes of JSON")
    return value


# SQLite and PostgreSQL do not agree on -0.0, which means nothing here.
_POSITIVE_ZERO = AfterValidator(lambda value: value + 0.0)

Score = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False, strict=True), _POSITIVE_ZERO]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True), _POSITIVE_ZERO]
Seconds = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False, strict=True), _POSITIVE_ZERO]
Text = Annotated[str, AfterValidator(_check_text)]
ShortText = Annotated[Text, StringConstraints(min_length=1, max_length=256)]
LongText = Annotated[Text, StringConstraints(min_length=1, max_length=65_536)]
SourceName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=SOURCE_PATTERN)]
"""A system or a role, such as `hubspot`, `ringsense` or `agent:711000101`."""

WebAddress = Annotated[
    Text,
    StringConstraints(max_length=2_048),
    AfterValidator(_check_address),
    Field(json_schema_extra={"format": "uri", "pattern": "^https?://[!-~]"}),
]
OriginalJson = Annotated[JsonValue, AfterValidator(_check_json)]
"""Free JSON of limited size."""
