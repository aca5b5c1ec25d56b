"""Responses about the people of an account. Field names are RingCentral's where it has one."""

from enum import StrEnum

from pydantic import Field

from app.accounts.directory.comparing import Source
from app.api.schemas import ApiModel, Instant, Page


class DirectoryState(StrEnum):
    """Whether the people of an account are known."""

    READY = "ready"
    """The last attempt to read them succeeded."""

    OUTDATED = "outdated"
    """They were read before, but the last attempt failed."""

    UNAVAILABLE = "unavailable"
    """They were never read, because RingCentral refuses it."""

    PENDING = "pending"
    """They have not been read yet."""

    OFF = "off"
    """The operator has switched the directory off."""


class DirectoryOut(ApiModel):
    """The state of the directory, and what is known of the account itself."""

    state: DirectoryState = Field(
        description="`ready`; `outdated`: read before, but not the last time; `unavailable`: never read, for "
        "the reason in `detail`; `pending`: not read yet; `off`: switched off by the operator.",
        examples=["ready"],
    )
    source: Source | None = Field(
        description="The list that was read. `extensions` is read where RingCentral refuses the directory, "
        "and has no direct numbers.",
        examples=["directory"],
    )
    read_at: Instant | None = Field(
        description="When it was last read, or found unchanged.", examples=["2026-03-10T18:00:00.000Z"]
    )
    missing: str | None = Field(
        description="The app scope or user permission that is missing.", examples=["ReadAccounts"]
    )
    code: str | None = Field(description="Why it cannot be read: RingCentral's code, or ours.")
    detail: str | None = Field(description="The same in words, with who can correct it.")
    since: Instant | None = Field(description="Since when it cannot be read.")
    main_number: str | None = Field(
        description="The account's main number in E.164.", examples=["+15550100100"]
    )
    home_country: str | None = Field(
        description="The country in which numbers without a country code are read.", examples=["US"]
    )
    time_zone: str | None = Field(
        description="The account's time zone, an IANA name.", examples=["America/Los_Angeles"]
    )


class NumberOut(ApiModel):
    """A number of an extension."""

    phone_number: str | None = Field(
        description="In E.164; null if it cannot be read as a number.", examples=["+15550100101"]
    )
    raw_phone_number: str | None = Field(
        description="As RingCentral wrote it, where that differs; else null.", examples=[None]
    )
    usage_type: str | None = Field(
        description="RingCentral's word: `DirectNumber` is the company's own; `MobileNumber`, "
        "`ContactNumber`, `ForwardedNumber` and `ExternalMobileNumber` are the person's.",
        examples=["DirectNumber"],
    )


class ExtensionOut(ApiModel):
    """An extension: a person, a call queue, a menu."""

    id: str = Field(description="RingCentral's id of the extension.", examples=["711000101"])
    extension_number: str | None = Field(description="The short number.", examples=["101"])
    name: str | None = Field(examples=["Ana Ruiz"])
    email: str | None = Field(examples=["ana.ruiz@northwind-tea.example"])
    type: str | None = Field(
        description="RingCentral's word: `User` is a person, `Department` a call queue, `IvrMenu` a menu.",
        examples=["User"],
    )
    status: str | None = Field(description="RingCentral's word.", examples=["Enabled"])
    time_zone: str | None = Field(
        description="The person's own, an IANA name; null while it is unknown: the account's applies.",
        examples=["America/Los_Angeles"],
    )
    phone_numbers: list[NumberOut]
    left_at: Instant | None = Field(
        description="When it was no longer in the directory; null while it is.", examples=[None]
    )


class ExtensionPage(Page[ExtensionOut]):
    """A page of extensions, and the state of the directory that they come from."""

    directory: DirectoryOut
