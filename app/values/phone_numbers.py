"""Phone numbers as RingCentral and people write them, read into one normal form. Pure.

The tables are those of `phonenumbers`, the Python port of Google's libphonenumber. A number counts if its
length is *possible* in its country: new ranges, and the made-up numbers of examples, are not among those that
the tables call valid. Validity only decides between several readings of the same digits.

A region is a two-letter country code. It says how numbers without a `+` are read: which prefix is the
international one, and which calling code a national number belongs to. Without a region, only what needs
none is read: a number with `+`, `00` or `011`; eleven digits and more that are a valid number with a calling
code in front; and the shapes of the North American plan, the one in which RingCentral writes numbers without
`+` (`18665550106`, official sync sample): eleven digits that begin with 1, ten that begin with 2 to 9.

E.164 takes 1 µs to read, other spellings with `+` 5 µs, those without 40 to 300 µs, and a spelling that was
read before 0.2 µs (Python 3.11, one core).
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote

from phonenumbers import (
    NumberParseException,
    PhoneMetadata,
    ValidationResult,
    is_possible_number_with_reason,
    is_valid_number,
    parse,
)
from phonenumbers import PhoneNumber as ParsedNumber
from phonenumbers.shortnumberinfo import is_emergency_number, is_valid_short_number_for_region

from app.values.widths import PHONE_NUMBER


class NumberKind(StrEnum):
    """What a raw number is."""

    FULL = "full"
    """A telephone number; `e164` has it."""

    EXTENSION = "extension"
    """A short number inside the company."""

    SERVICE = "service"
    """A star code, a park location, `conference`, or an emergency or service number of the region."""

    WITHHELD = "withheld"
    """`anonymous` and its like: somebody outside the company, whose number is not shown."""

    UNREADABLE = "unreadable"
    """Anything else, masked numbers included."""


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number as it came, and what it means.

    `e164` is set for FULL only. `extension` is the short number, of EXTENSION and of `…*102`.
    """

    raw: str
    kind: NumberKind
    e164: str | None = None
    extension: str | None = None

    @property
    def normal(self) -> str:
        """The one form in which numbers are stored, compared and searched.

        E.164, an extension's digits, or `anonymous`; what is none of these without its separators.
        """
        match self.kind:
            case NumberKind.FULL | NumberKind.EXTENSION:
                return self.e164 or self.extension or self.raw
            case NumberKind.WITHHELD:
                return WITHHELD
            case _:
                return _squeezed(_plain(self.raw)) or self.raw


WITHHELD = "anonymous"
_WITHHELD = frozenset(
    {
        "anonymous", "blocked", "calleridblocked", "calleridunavailable", "hidden", "nocallerid",
        "notavailable", "numberunavailable", "numberwithheld", "outofarea", "private", "privatecaller",
        "privatenumber", "restricted", "unavailable", "undisclosed", "unknown", "unknowncaller",
        "unknownnumber", "withheld",
    }
)  # fmt: skip
"""Without their spaces and hyphens."""

_SERVICES = frozenset({"conference"})

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
"""Of any country: the shortest numbers have seven digits with their calling code, the longest fifteen."""

_SEPARATORS = re.compile(r"[\s().\-/\[\]_~]+")
_STAR_CODE = re.compile(r"[*#][0-9*#+]*")
_WITH_EXTENSION = re.compile(
    r"(?P<main>[^*#,;x:=e]*)(?:[*#,;]+|x|[,;]*ext(?:n|ension)?)[:=]*(?P<extension>[0-9]{1,8})"
)
_TRUNK_IN_BRACKETS = re.compile(r"(?<=[0-9])\s*\(\s*0\s*\)")
_URI = re.compile(r"(?:(?:tel|sips?|callto):)+", re.IGNORECASE)
_CONTEXT = re.compile(r";\s*phone-context=(?P<context>[^;]*)", re.IGNORECASE)
_EXT_PARAMETER = re.compile(r";\s*ext=(?P<extension>[^;]*)", re.IGNORECASE)
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc"), "-")

_NORTH_AMERICAN = re.compile(r"1[2-9][0-9]{9}")
_NORTH_AMERICAN_NATIONAL = re.compile(r"[2-9][0-9]{9}")
_SERVICE_ANYWHERE = re.compile(r"112|911|[2-8]11")
_FREE_DIALLING = (("011", 9), ("00", 7))
"""International prefixes that are read in any region, and the digits that must follow: no national number
begins with `00`, and none with `011` is that long."""

_LONGEST_SHORT, _LONGEST_EXTENSION, _LONGEST_DIALLED = 6, 8, 20
_SHORTEST_WITH_CALLING_CODE = 11
_CACHED = 16_384
"""A spelling and its result take about 600 bytes."""


def read_phone_number(raw: str | None, region: str | None = None) -> PhoneNumber | None:
    """Read a number of any spelling; None without one. `region` is a two-letter country code, in any case.

    Never raises. Text that is longer than the column of a number is UNREADABLE.
    """
    if not raw:
        return None
    if len(raw) > PHONE_NUMBER:
        text = raw.strip()
        return PhoneNumber(text, NumberKind.UNREADABLE) if text else None
    return _read(raw, region)


def normal_forms(raw: str, region: str | None) -> tuple[str, ...]:
    """Return under what a number is found: its normal form, and the extension behind it."""
    number = read_phone_number(raw, region)
    if number is None:
        return ()
    is_behind = number.kind is NumberKind.FULL and number.extension is not None
    return (number.normal, number.extension) if is_behind and number.extension else (number.normal,)


def as_dialled(e164: str) -> str | None:
    """Return a number with a possible length without the national prefix that was written behind its calling
    code, as in `+49 030`; None if its length is not possible.
    """
    return _possible(e164, None)


def forget_numbers() -> None:
    """Forget the spellings that this process has read."""
    _read.cache_clear()


def split_e164(e164: str) -> tuple[str, str]:
    """Return the calling code and the national number, in digits; no calling code if it is not known."""
    parsed = _parse(e164, None)
    code = str(parsed.country_code) if parsed is not None else ""
    return code, e164.removeprefix("+").removeprefix(code)


def calling_code(region: str | None) -> str:
    """Return the calling code of a region, in digits; empty if there is none."""
    return _calling_code(_known(region))


def is_in_use(e164: str) -> bool:
    """Whether the tables call a number valid: its range is given to customers."""
    return _valid(e164, None) is not None


def is_region(code: str) -> bool:
    """Whether numbers can be read in this country; `code` in upper case."""
    return PhoneMetadata.metadata_for_region(code) is not None


@lru_cache(maxsize=_CACHED)
def _read(raw: str, region: str | None) -> PhoneNumber | None:
    if _E164.fullmatch(raw):
        return PhoneNumber(raw, NumberKind.FULL, raw)
    text = raw.strip()
    if not text:
        return None
    plain = _plain(text)
    squeezed = _squeezed(plain)
    is_bare = squeezed == plain.casefold()
    if squeezed in _WITHHELD:
        return PhoneNumber(text, NumberKind.WITHHELD)
    if squeezed in _SERVICES or _STAR_CODE.fullmatch(squeezed):
        return PhoneNumber(text, NumberKind.SERVICE)
    kind, e164, extension = _read_squeezed(squeezed, _known(region), is_bare=is_bare)
    return PhoneNumber(text, kind, e164, extension)


_Meaning = tuple[NumberKind, str | None, str | None]
_UNREADABLE: _Meaning = (NumberKind.UNREADABLE, None, None)


def _read_squeezed(text: str, region: str | None, *, is_bare: bool) -> _Meaning:
    """Read what is no word. `is_bare`: it had no separators."""
    found = _WITH_EXTENSION.fullmatch(text)
    if found is None:
        return _read_main(text, region, is_bare=is_bare)
    main, extension = found["main"], found["extension"]
    if not main:  # `x102`
        return NumberKind.EXTENSION, None, extension
    kind, e164, _ = _read_main(main, region, is_bare=True)
    # A masked number can look like a number and an extension: only a possible one is one.
    if kind is not NumberKind.FULL or e164 is None or _possible(e164, None) is None:
        return _UNREADABLE
    return kind, e164, extension


def _read_main(text: str, region: str | None, *, is_bare: bool) -> _Meaning:
    digits = text.lstrip("+")
    if not digits.isdecimal() or len(digits) > _LONGEST_DIALLED:
        return _UNREADABLE
    # No calling code begins with 0, so a `+` in front of it means nothing.
    if digits != text and digits[0] != "0":
        e164 = f"+{digits}"
        return (NumberKind.FULL, e164, None) if _E164.fullmatch(e164) else _UNREADABLE
    if len(digits) <= _LONGEST_SHORT:
        is_service = _is_service(digits, region)
        return (NumberKind.SERVICE, None, None) if is_service else (NumberKind.EXTENSION, None, digits)
    found = _full(digits, region, is_bare=is_bare)
    if found is not None:
        return NumberKind.FULL, found, None
    # People write a local number, which lacks its area code, with separators, and an extension without.
    is_extension = is_bare and len(digits) <= _LONGEST_EXTENSION
    return (NumberKind.EXTENSION, None, digits) if is_extension else _UNREADABLE


def _full(digits: str, region: str | None, *, is_bare: bool) -> str | None:
    """Return seven digits or more without a `+` as E.164; None if they are no number of the region."""
    if region is None:
        found = _without_region(digits)
    elif len(digits) <= _LONGEST_EXTENSION:
        found = _short_national(digits, region, is_bare=is_bare)
    else:
        found = _in_region(digits, region)
    return found or _after_free_prefix(digits)


def _without_region(digits: str) -> str | None:
    if _NORTH_AMERICAN.fullmatch(digits):
        return f"+{digits}"
    if _NORTH_AMERICAN_NATIONAL.fullmatch(digits):
        return f"+1{digits}"
    return _valid(f"+{digits}", None) if len(digits) >= _SHORTEST_WITH_CALLING_CODE else None


def _in_region(digits: str, region: str) -> str | None:
    """Read nine digits or more: as dialled in the region, or with a calling code in front and no `+`."""
    if digits.startswith("00") and not _has_prefix(digits, region):
        return None  # no national number begins with it
    dialled = _possible(digits, region)
    if dialled is not None and _has_prefix(digits, region):
        return dialled
    home = _calling_code(region)
    coded = f"+{digits}"
    is_long = len(digits) >= _SHORTEST_WITH_CALLING_CODE
    readings = [
        # Where people dial a prefix before the area code, digits without it begin with the calling code.
        _valid(coded, None) if digits.startswith(home) and _trunk(region) else None,
        _valid(digits, region),
        _valid(coded, None) if digits.startswith(home) or is_long else None,
        coded if _NORTH_AMERICAN.fullmatch(digits) else None,
        dialled,
        _possible(coded, None) if digits.startswith(home) or is_long else None,
    ]
    return next((reading for reading in readings if reading is not None), None)


def _after_free_prefix(digits: str) -> str | None:
    for prefix, shortest in _FREE_DIALLING:
        rest = digits.removeprefix(prefix)
        if rest != digits and len(rest) >= shortest:
            found = _possible(f"+{rest}", None)
            if found is not None:
                return found
    return None


def _has_prefix(digits: str, region: str) -> bool:
    """Whether digits begin with the region's prefix for calls abroad or to another area."""
    metadata = PhoneMetadata.metadata_for_region(region)
    abroad = metadata.international_prefix if metadata else None
    if abroad and re.match(f"(?:{abroad})[1-9]", digits):
        return True
    trunk = _trunk(region)
    is_trunk = trunk and trunk != _calling_code(region) and digits.startswith(trunk)
    return bool(is_trunk) and not digits.startswith("00")


def _short_national(digits: str, region: str, *, is_bare: bool) -> str | None:
    """Read seven or eight digits, which can be an extension as well.

    Numbers are that short where no prefix is dialled before an area code, as in Denmark or Singapore.
    Elsewhere they begin with that prefix, or have separators.
    """
    trunk = _trunk(region)
    if trunk and digits.startswith(trunk):
        return _possible(digits, region)
    return _valid(digits, region) if trunk is None or not is_bare else None


def _trunk(region: str) -> str | None:
    """Return the digit that is dialled before an area code, such as 0; None where there are none."""
    metadata = PhoneMetadata.metadata_for_region(region)
    return metadata.national_prefix if metadata else None


def _calling_code(region: str | None) -> str:
    metadata = PhoneMetadata.metadata_for_region(region) if region else None
    return str(metadata.country_code) if metadata else ""


def _possible(number: str, region: str | None) -> str | None:
    """Return a number as E.164 if its length is possible in its country."""
    parsed = _parse(number, region)
    if parsed is None or is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
        return None
    zeros = (parsed.number_of_leading_zeros or 1) if parsed.italian_leading_zero else 0
    national = "0" * zeros + str(parsed.national_number)
    # Area codes of the North American plan do not begin with 0 or 1, whatever the length.
    if parsed.country_code == 1 and national[0] in "01":
        return None
    found = f"+{parsed.country_code}{national}"
    return found if _E164.fullmatch(found) else None


def _valid(number: str, region: str | None) -> str | None:
    """Return a number as E.164 if the tables call it valid."""
    parsed = _parse(number, region)
    return _possible(number, region) if parsed is not None and is_valid_number(parsed) else None


def _parse(number: str, region: str | None) -> ParsedNumber | None:
    try:
        return parse(number, region)
    except NumberParseException:
        return None


def _is_service(digits: str, region: str | None) -> bool:
    """Whether a short number reaches an emergency or public service and not an extension.

    Of the region's other short numbers only those that begin with 11 and are longer than usual extensions
    (116117, 118118) count: tables have numbers such as 101 that companies give to their people.
    """
    if region is None:
        return _SERVICE_ANYWHERE.fullmatch(digits) is not None
    if digits == "112" or is_emergency_number(digits, region):
        return True
    is_reserved = len(digits) == 3 if _calling_code(region) == "1" else digits[:2] == "11" and len(digits) > 3
    parsed = _parse(digits, region) if is_reserved else None
    return parsed is not None and is_valid_short_number_for_region(parsed, region)


@lru_cache(maxsize=512)
def _known(region: str | None) -> str | None:
    code = (region or "").upper()
    return code if code.isascii() and is_region(code) else None


def _plain(text: str) -> str:
    """Return ASCII digits and letters, without what surrounds a number: schemes, hosts, invisible marks."""
    plain = text
    if not text.isascii():
        # Fullwidth forms become ASCII; marks of writing direction come along when a number is copied.
        plain = unicodedata.normalize("NFKC", text).translate(_DASHES)
        plain = "".join(_ascii_digit(sign) for sign in plain if unicodedata.category(sign) != "Cf")
    if "<" in plain and ">" in plain:  # "Dana Field" <sip:+15550179001@example.com>
        plain = plain[plain.index("<") + 1 :].partition(">")[0]
    plain = plain.strip()
    scheme = _URI.match(plain)
    if scheme is None and "@" not in plain and not plain.startswith("%2"):
        return plain
    plain = unquote(plain[scheme.end() if scheme else 0 :])
    user, _, host = plain.partition("@")
    return _without_parameters(user, host)


def _without_parameters(user: str, host: str) -> str:
    """Return the number of a `tel:` or `sip:` URI (RFC 3966 and 3261), with its extension and its context."""
    number, _, _ = user.partition(";")
    context, extension = _CONTEXT.search(user), _EXT_PARAMETER.search(f"{user};{host}")
    if context and context["context"].startswith("+") and not number.startswith("+"):
        number = f"{context['context']}{number}"
    return f"{number.strip()};ext={extension['extension']}" if extension else number.strip()


def _squeezed(plain: str) -> str:
    """Return what distinguishes a text: in lower case and without separators.

    Without the `(0)` of `+44 (0)20`, too, which is dialled inside the country only. Italy's 0 is always
    dialled, so there it is part of the number.
    """
    digits = plain.lstrip("+0 ")
    if "(" in plain and digits != plain and not digits.startswith("39"):
        plain = _TRUNK_IN_BRACKETS.sub("", plain, count=1)
    return _SEPARATORS.sub("", plain).casefold()


def _ascii_digit(sign: str) -> str:
    value = unicodedata.decimal(sign, None)
    return sign if value is None else str(value)
