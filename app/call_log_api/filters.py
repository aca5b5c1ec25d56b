"""Path and query parameters of RingCentral's own lists, and the queries that they become."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from typing import Annotated, Literal, Self

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from app.api.schemas import ExtensionIdText
from app.api.timestamps import QueryTimestamp
from app.calls.listing.filters import PhoneNumber as WrittenNumber
from app.calls.listing.numbers import read_written_number
from app.errors import Unprocessable
from app.ids import is_alias
from app.ringcentral.protocol.calls import ActiveCallsQuery, CallLogQuery
from app.values.phone_numbers import NumberKind, as_dialled

RecordDirection = Literal["Inbound", "Outbound"]
CallType = Literal["Voice", "Fax"]
Transport = Literal["PSTN", "VoIP"]
RecordingType = Literal["Automatic", "OnDemand", "All"]
View = Literal["Simple", "Detailed"]
RecordName = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.~-]*[A-Za-z0-9_~-]$")
]
RecordPath = Annotated[
    RecordName, Path(description="RingCentral's id of the record.", examples=["QX7f14l8Nt_2aVB"])
]
ExtensionPath = Annotated[
    ExtensionIdText,
    Path(description="RingCentral's id of the extension, not its number.", examples=["711000101"]),
]
ViewQuery = Annotated[View, Query(description="`Detailed` includes the legs.")]


class ListFilters(BaseModel):
    """The filters that all lists have."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    direction: list[RecordDirection] = Field(
        [], max_length=2, description="From the view of the extension of the record. Repeatable."
    )
    type: list[CallType] = Field([], max_length=2, description="Repeatable. Default: both.")
    view: View = Field("Simple", description="`Detailed` includes the legs.")
    page: int = Field(1, ge=1, le=10_000)
    per_page: int = Field(100, ge=1, le=1000, description="RingCentral may return fewer.")


class ActiveCallsFilters(ListFilters):
    """The filters of Active Calls."""

    transport: list[Transport] = Field([], max_length=2, description="Repeatable.")

    def query(self) -> ActiveCallsQuery:
        return ActiveCallsQuery(
            view=self.view,
            direction=tuple(self.direction),
            type=tuple(self.type),
            transport=tuple(self.transport),
            page=self.page,
            per_page=self.per_page,
        )


class CallLogFilters(ListFilters):
    """The filters of the account's call log."""

    date_from: QueryTimestamp | None = Field(
        None,
        description="The call started at this time or later. Must have an offset. Default: 24 hours before "
        "`dateTo`.",
        examples=["2026-03-10T18:00:00Z"],
    )
    date_to: QueryTimestamp | None = Field(
        None,
        description="The call started at this time or earlier. Must have an offset. Default: now.",
        examples=["2026-03-10T19:00:00Z"],
    )
    recording_type: list[RecordingType] = Field(
        [], max_length=3, description="Only recorded calls. Repeatable; both types together are `All`."
    )
    phone_number: WrittenNumber | None = Field(
        None,
        description="The number of either side, in E.164 or in any usual spelling. An extension's number is "
        "the same as `extensionNumber`.",
        examples=["+15550179001"],
    )
    extension_number: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}$")] | None = Field(
        None,
        description="The extension number of either side. Not together with `phoneNumber`.",
        examples=["101"],
    )
    session_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")] | None = Field(
        None,
        description="The records of one session, by its numeric id. Only together with `view`.",
        examples=["1229016182016"],
    )

    def checked(self) -> Self:
        """Return self. Raises Unprocessable for filters that exclude each other."""
        if self.session_id is not None:
            others = sorted(to_camel(name) for name in self.model_fields_set - {"session_id", "view"})
            if others:
                raise Unprocessable(f"sessionId can be combined with view only, not with {', '.join(others)}")
            if not is_alias(self.session_id.lstrip("0") or "0"):
                raise Unprocessable("sessionId 0 is shared by all conferences and does not identify a call")
        if self.phone_number is not None and self.extension_number is not None:
            raise Unprocessable("phoneNumber and extensionNumber exclude each other")
        if self.date_from is not None and self.date_to is not None and self.date_from > self.date_to:
            raise Unprocessable("dateFrom is after dateTo")
        return self

    def query(self, region: str | None = None) -> CallLogQuery:
        """Return RingCentral's query. `region`: the country in which numbers without a `+` are read.

        Raises Unprocessable for a number by which RingCentral's Call Log cannot be filtered.
        """
        number, extension = self._number(region)
        return CallLogQuery(
            date_from=self.date_from and self.date_from.astimezone(UTC),
            date_to=self.date_to and self.date_to.astimezone(UTC),
            view=self.view,
            direction=tuple(self.direction),
            type=tuple(self.type),
            recording_type=_one_type(self.recording_type),
            phone_number=number,
            extension_number=extension or self.extension_number,
            page=self.page,
            per_page=self.per_page,
        )

    def _number(self, region: str | None) -> tuple[str | None, str | None]:
        """Return the telephone number and the extension number that `phoneNumber` means."""
        if self.phone_number is None:
            return None, None
        number = read_written_number(self.phone_number, region)[0]
        if number.kind is NumberKind.EXTENSION:
            return None, number.extension
        if number.e164 is not None and number.extension is None:
            return as_dialled(number.e164) or number.e164, None
        if number.kind is NumberKind.SERVICE and number.normal.isdecimal():
            return number.normal, None
        raise Unprocessable(
            "RingCentral's Call Log is filtered by one telephone number, or by one extension number: send a "
            "number such as +15550179001, or `extensionNumber`",
            parameter="phoneNumber",
        )


def _one_type(types: Sequence[RecordingType]) -> RecordingType | None:
    """Return the one value that RingCentral's parameter takes: two types are all that exist."""
    return "All" if len(set(types)) > 1 else next(iter(types), None)


class ExtensionCallLogFilters(CallLogFilters):
    """The filters of an extension's call log, which has two more."""

    transport: list[Transport] = Field([], max_length=2, description="Repeatable.")
    show_blocked: bool | None = Field(
        None, description="Whether to include blocked calls. RingCentral's default is true."
    )

    def query(self, region: str | None = None) -> CallLogQuery:
        return replace(super().query(region), transport=tuple(self.transport), show_blocked=self.show_blocked)
