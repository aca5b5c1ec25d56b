"""The query parameters of a list of calls."""

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from app.api.schemas import ExtensionIdText
from app.api.timestamps import QueryTimestamp
from app.calls.attachments.fields import SourceName
from app.calls.attachments.labels import Label
from app.calls.model import Outcome, Stage

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 200
_LONGEST_CURSOR = 512
_LONGEST_NUMBER = 128
_NUMBER = re.compile(r"\+?(?=[X*#]*[0-9])[0-9X*#]{1,31}", re.IGNORECASE)
"""Digits, with masked digits and service codes, as in events and records."""
_NO_NUMBERS = frozenset({"anonymous", "conference"})
"""Words that appear in place of a number (published event streams)."""


class Direction(StrEnum):
    """The direction of a call, from the view of the company."""

    INBOUND = "Inbound"
    OUTBOUND = "Outbound"


class Order(StrEnum):
    """The order of the list; `-` means descending. By `endTime`, only calls that have ended are listed."""

    NEWEST = "-startTime"
    OLDEST = "startTime"
    LATEST_CHANGE = "-updatedAt"
    EARLIEST_CHANGE = "updatedAt"
    LATEST_END = "-endTime"
    EARLIEST_END = "endTime"

    @property
    def descends(self) -> bool:
        return self.value.startswith("-")

    @property
    def by(self) -> str:
        return self.value.removeprefix("-")


def normalize_number(value: Any) -> Any:
    """Return a phone number as events and records write it: `+` and digits, or a short number unchanged.

    Accepts a `+` that arrived as a space, a leading `00`, and spaces, dots, dashes and brackets. Text that is
    not a number (`anonymous`, a masked number) is returned unchanged.
    """
    if not isinstance(value, str) or len(value) > _LONGEST_NUMBER:
        return value
    bare = re.sub(r"[\s().\-/]", "", value)
    if bare.startswith("00") and bare.isdecimal():
        return f"+{bare[2:]}"
    had_plus = value[:1].isspace() and bare.isdecimal()
    is_international = bare.isdecimal() and len(bare) > 10
    return f"+{bare}" if had_plus or is_international else bare or value.strip()


def _check_number(value: str) -> str:
    if not _NUMBER.fullmatch(value) and value.casefold() not in _NO_NUMBERS:
        raise ValueError(
            "Must be a phone number in E.164, such as +15550179001, or a short one, such as 101; or "
            "`anonymous`"
        )
    return value


def _in_any_case(words: type[StrEnum]) -> BeforeValidator:
    """Accept the words of a closed set in any case."""
    known = {word.value.casefold(): word.value for word in words}
    return BeforeValidator(
        lambda value: known.get(value.casefold(), value) if isinstance(value, str) else value
    )


PhoneNumber = Annotated[
    str,
    StringConstraints(min_length=1, max_length=_LONGEST_NUMBER),
    BeforeValidator(normalize_number),
    AfterValidator(_check_number),
]
_TIME = "2026-03-10T18:00:00Z"


class CallFilters(BaseModel):
    """The filters of a list of calls, all of which must match."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    started_after: QueryTimestamp | None = Field(
        None, description="The call started at this time or later.", examples=[_TIME]
    )
    started_before: QueryTimestamp | None = Field(
        None, description="The call started before this time.", examples=[_TIME]
    )
    ended_after: QueryTimestamp | None = Field(
        None, description="The call ended at this time or later.", examples=[_TIME]
    )
    ended_before: QueryTimestamp | None = Field(
        None, description="The call ended before this time.", examples=[_TIME]
    )
    updated_after: QueryTimestamp | None = Field(
        None, description="The last change of the call was at this time or later.", examples=[_TIME]
    )
    direction: Annotated[Direction, _in_any_case(Direction)] | None = Field(
        None, description="From the view of the company.", examples=["Inbound", "Outbound"]
    )
    extension_id: ExtensionIdText | None = Field(
        None, description="RingCentral's id of an extension that took part.", examples=["711000101"]
    )
    agent: ExtensionIdText | None = Field(
        None,
        description="RingCentral's id of the extension whose call it is: the one who placed it, or else the "
        "first who answered.",
        examples=["711000101"],
    )
    phone_number: PhoneNumber | None = Field(
        None,
        description="A phone number that took part, in E.164; other common formats are accepted. "
        "`anonymous` matches callers who withheld their number.",
        examples=["+15550179001"],
    )
    outcome: list[Outcome] = Field(
        [],
        max_length=12,
        description="Repeat it to match any of several.",
        examples=[["missed", "voicemail"]],
    )
    stage: list[Stage] = Field(
        [], max_length=6, description="Repeat it to match any of several.", examples=[["reconciled", "final"]]
    )
    has_recording: bool | None = Field(None, description="Whether the call has a known recording.")
    sentiment: Annotated[Label, _in_any_case(Label)] | None = Field(
        None, description="The label of any of its sentiments.", examples=["negative"]
    )
    has_notes: bool | None = Field(None, description="Whether the call has a note.")
    unlinked_crm: SourceName | None = Field(
        None,
        description="The call has no links to this CRM. Fast if most of these calls are recent, or with a "
        "filter such as `startedAfter`.",
        examples=["hubspot"],
    )


class ListQuery(CallFilters):
    """Filters, order and page."""

    order: Order = Field(Order.NEWEST, description="The field to sort by; `-` means newest first.")
    limit: int = Field(_DEFAULT_LIMIT, ge=1, le=_MAX_LIMIT, description="The number of calls per page.")
    cursor: str | None = Field(
        None,
        max_length=_LONGEST_CURSOR,
        description="`nextCursor` of the previous page, with the same filters and order.",
    )
