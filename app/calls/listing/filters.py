"""The query parameters of a list of calls."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from app.api.schemas import ExtensionIdText
from app.api.timestamps import QueryTimestamp
from app.calls.attachments.fields import SourceName
from app.calls.attachments.rules.labels import Label
from app.calls.model import Outcome, Stage
from app.values.phone_numbers import NumberKind, read_phone_number
from app.values.widths import PHONE_NUMBER, TEXT

_DEFAULT_LIMIT = 50
MOST_CALLS = 200
_LONGEST_CURSOR = 512
_MAYBE_NUMBER = re.compile(r"\+?(?=x*[0-9])[0-9x]{7,31}")
"""The normal form of a number that only its region makes readable, or with masked digits."""


class Direction(StrEnum):
    """The direction of a call, from the view of the company."""

    INBOUND = "Inbound"
    OUTBOUND = "Outbound"


class Internal(StrEnum):
    """Whether a call is internal; `null` while nobody can know, as the call itself shows it."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "null"


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


def check_number(value: str) -> str:
    """Return the value, which is read in the region of the account later.

    Raises ValueError for what is a number in no region.
    """
    number = read_phone_number(value)
    is_known = number is not None and number.kind is not NumberKind.UNREADABLE
    if not is_known and not (number and _MAYBE_NUMBER.fullmatch(number.normal)):
        raise ValueError(
            "Must be a phone number in E.164, such as +15550179001, or as it is dialled in the country of "
            "the account, such as (555) 017-9001; an extension's number, such as 101; or `anonymous`"
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
    StringConstraints(min_length=1, max_length=PHONE_NUMBER),
    AfterValidator(check_number),
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
        description="A phone number that took part, in E.164 or in any usual spelling: as it is dialled in "
        "the country of the account, with international prefix, with brackets and dashes. Or an extension's "
        "number. `anonymous` matches callers who withheld their number.",
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
    main: bool | None = Field(
        None,
        description="Whether the call is the main one of its conversation, the one to write into a CRM. True "
        "for every call without related calls.",
    )
    internal: list[Annotated[Internal, _in_any_case(Internal)]] = Field(
        [],
        max_length=3,
        description="Whether everybody in the call belongs to the company; `null` for calls of which that is "
        "not known. Repeat it to match any of several.",
        examples=[["false", "null"]],
    )
    has_recording: bool | None = Field(None, description="Whether the call has a known recording.")
    sentiment: Annotated[Label, _in_any_case(Label)] | None = Field(
        None, description="The label of any of its sentiments.", examples=["negative"]
    )
    has_notes: bool | None = Field(None, description="Whether the call has a note.")
    unlinked_crm: SourceName | None = Field(
        None,
        description="The call belongs in a CRM and has no links to this one. What belongs: the main call of "
        "each conversation, unless it is internal, a test, or a conference without a customer's number.",
        examples=["hubspot"],
    )


class ListFilters(CallFilters):
    """The filters of a list, with those that the directory of the account translates into others."""

    agent_email: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=TEXT, to_lower=True, pattern=r"^[^\x00-\x1f\x7f]+$"),
        ]
        | None
    ) = Field(
        None,
        description="The e-mail, in any case, of the person whose call it is, as the directory has it.",
        examples=["ana.ruiz@northwind-tea.example"],
    )
    agent_extension_number: (
        Annotated[str, StringConstraints(max_length=PHONE_NUMBER, pattern=r"^[0-9*#]+$")] | None
    ) = Field(
        None,
        description="The short number of the extension whose call it is, as the directory has it.",
        examples=["101"],
    )


class ListQuery(ListFilters):
    """Filters, order and page."""

    order: Order = Field(Order.NEWEST, description="The field to sort by; `-` means newest first.")
    limit: int = Field(
        _DEFAULT_LIMIT,
        ge=1,
        le=MOST_CALLS,
        description="The most calls of a page. A page can have fewer, and none: the list ends where "
        "`nextCursor` is null.",
    )
    cursor: str | None = Field(
        None,
        max_length=_LONGEST_CURSOR,
        description="`nextCursor` of the previous page, with the same filters and order.",
    )
