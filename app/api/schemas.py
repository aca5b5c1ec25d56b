"""What the models of all responses share. Field names are camelCase on the wire."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

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


class ApiModel(BaseModel):
    """The base of all responses."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class OpenModel(ApiModel):
    """An object that may carry further fields of RingCentral's."""

    model_config = ConfigDict(extra="allow")
