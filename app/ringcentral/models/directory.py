"""The people of an account: entries of the company directory, extensions, and the account itself. Pure.

The directory and the list of extensions tell the same about an extension in different places; both are read
into one form. RingCentral's words are kept: types, statuses and usage types are open sets (API description
1.0.46).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.ids import AccountId, ExtensionId, as_text
from app.ringcentral.models.fields import account_in_uri, as_object, as_objects, optional, read_text
from app.values import widths

MOST_NUMBERS = 100
"""Numbers read of one entry."""

_LONGEST_ETAG = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryNumber:
    """A number of an entry, as RingCentral wrote it. `usage_type` says whose it is: `DirectNumber` is the
    company's, `MobileNumber` the person's own.
    """

    phone_number: str
    usage_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryEntry:
    """One extension of the account: a person, a call queue (`Department`), a menu (`IvrMenu`) and others.

    `account_id` is set only in directories that list several accounts. `time_zone` is an IANA name, which
    only the extension resource knows.
    """

    id: ExtensionId
    type: str | None = None
    status: str | None = None
    extension_number: str | None = None
    name: str | None = None
    email: str | None = None
    phone_numbers: tuple[DirectoryNumber, ...] = ()
    time_zone: str | None = None
    account_id: AccountId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryPage:
    """One page of entries. `has_next` is only the presence of `nextPage`.

    `etag` is for the next request of this page; None if RingCentral sent none that can be sent back.
    """

    sent_at: datetime
    entries: tuple[DirectoryEntry, ...] = ()
    page: int | None = None
    has_next: bool = False
    etag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInfo:
    """The account. `home_country` is a two-letter code, `calling_code` has digits without `+`, `main_number`
    is as RingCentral wrote it, and `time_zone` is an IANA name.
    """

    id: AccountId | None = None
    main_number: str | None = None
    home_country: str | None = None
    calling_code: str | None = None
    time_zone: str | None = None


def read_directory_entry(value: Any) -> DirectoryEntry | None:
    """Read an entry of the directory, of the list of extensions, or an extension; None without an id."""
    fields = as_object(value)
    extension_id = as_text(fields.get("id"))
    if extension_id is None:
        return None
    contact = as_object(fields.get("contact"))
    return DirectoryEntry(
        id=ExtensionId(extension_id),
        type=read_text(fields.get("type"), widths.TEXT),
        status=read_text(fields.get("status"), widths.TEXT),
        extension_number=_text(fields.get("extensionNumber"), widths.PHONE_NUMBER),
        name=_name(fields, contact),
        email=_text(fields.get("email"), widths.TEXT) or _text(contact.get("email"), widths.TEXT),
        phone_numbers=_numbers(fields, contact),
        time_zone=_time_zone(fields),
        account_id=optional(AccountId, as_text(as_object(fields.get("account")).get("id"))),
    )


def read_account_info(value: Any) -> AccountInfo:
    """Read the account; every part can be missing."""
    fields = as_object(value)
    country = as_object(as_object(fields.get("regionalSettings")).get("homeCountry"))
    iso_code = read_text(country.get("isoCode"), widths.TEXT) or ""
    calling_code = (_text(country.get("callingCode"), widths.TEXT) or "").lstrip("+")
    found = as_text(fields.get("id"))
    return AccountInfo(
        id=AccountId(found) if found else account_in_uri(fields.get("uri")),
        main_number=_text(fields.get("mainNumber"), widths.PHONE_NUMBER),
        home_country=iso_code.upper() if len(iso_code) == 2 and _is_plain(iso_code, str.isalpha) else None,
        calling_code=calling_code
        if len(calling_code) <= 4 and _is_plain(calling_code, str.isdigit)
        else None,
        time_zone=_time_zone(fields),
    )


def read_etag(value: str | None) -> str | None:
    """Read an ETag that can be sent back in `If-None-Match` (RFC 9110: visible ASCII)."""
    text = (value or "").strip()
    return text if text.isascii() and text.isprintable() and 0 < len(text) <= _LONGEST_ETAG else None


def _is_plain(text: str, check: Any) -> bool:
    return text.isascii() and bool(check(text))


def _text(value: Any, longest: int) -> str | None:
    """Read text or a number that should be text, without the spaces around it."""
    given = str(value) if type(value) is int and as_text(value) else value
    text = read_text(given, longest)
    return (text.strip() or None) if text else None


def _name(fields: Any, contact: Any) -> str | None:
    name = _text(fields.get("name"), widths.TEXT)
    if name:
        return name
    for source in (fields, contact):
        parts = [_text(source.get(part), widths.TEXT) for part in ("firstName", "lastName")]
        joined = " ".join(part for part in parts if part)
        if joined:
            return joined[: widths.TEXT]
    return None


def _numbers(fields: Any, contact: Any) -> tuple[DirectoryNumber, ...]:
    """Return each number once per usage; the list of extensions has them in `contact`."""
    found = [
        (_text(item.get("phoneNumber"), widths.PHONE_NUMBER), read_text(item.get("usageType"), widths.TEXT))
        for item in as_objects(fields.get("phoneNumbers"))
    ]
    for name, usage in (("businessPhone", "ContactNumber"), ("mobilePhone", "MobileNumber")):
        found.append((_text(contact.get(name), widths.PHONE_NUMBER), usage))
    once = dict.fromkeys((number, usage) for number, usage in found if number)
    return tuple(
        DirectoryNumber(phone_number=number, usage_type=usage) for number, usage in list(once)[:MOST_NUMBERS]
    )


def _time_zone(fields: Any) -> str | None:
    zone = as_object(as_object(fields.get("regionalSettings")).get("timezone"))
    return _text(zone.get("name"), widths.TIME_ZONE)
