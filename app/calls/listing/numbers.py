"""The filter by a phone number: which stored values a number means that a client has written."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.listing.normal_numbers import is_normalized
from app.calls.regions import load_region
from app.errors import Unprocessable
from app.ids import AccountId
from app.values.phone_numbers import NumberKind, PhoneNumber, as_dialled, is_in_use, read_phone_number

_PARAMETER = "phoneNumber"


@dataclass(frozen=True, slots=True)
class WantedNumber:
    """What a call must have: one of `values` in `call_parties`, and the extension if there is one."""

    values: tuple[str, ...]
    extension: str | None = None


async def find_wanted_number(db: AsyncConnection, account_id: AccountId, written: str) -> WantedNumber:
    """Read the number of a filter in the region of the account.

    Raises Unprocessable for a number that is none there.
    """
    wanted = read_wanted_number(written, await load_region(db, account_id))
    if await is_normalized(db, account_id):
        return wanted
    return replace(wanted, values=tuple(dict.fromkeys(_with_old_forms(written, wanted.values))))


def read_wanted_number(written: str, region: str | None) -> WantedNumber:
    """Read the number of a filter. Raises Unprocessable for a number that is none in the region."""
    found = read_written_number(written, region)
    values = [value for number in found for value in _values(number)]
    return WantedNumber(tuple(dict.fromkeys(values)), found[0].extension if found[0].e164 else None)


def read_written_number(written: str, region: str | None) -> list[PhoneNumber]:
    """Return what a written number can mean, the likeliest first.

    Raises Unprocessable for a number that is none in the region.
    """
    number = read_phone_number(written, region)
    with_plus = read_phone_number(f"+{written.strip()}", region) if _lost_its_plus(written) else None
    found = [one for one in (with_plus, number) if one is not None and _is_readable(one)]
    if not found:
        raise Unprocessable(_reason(region), parameter=_PARAMETER)
    return sorted(found, key=lambda one: one.e164 is None or not is_in_use(one.e164))


def _lost_its_plus(written: str) -> bool:
    """Whether the number began with a `+` that was not escaped in the URL, and so became a space."""
    return written[:1].isspace() and written.strip()[:1].isdecimal()


def _is_readable(number: PhoneNumber) -> bool:
    """Whether its meaning is known. A masked number has no meaning, but can be looked for as it is."""
    return number.kind is not NumberKind.UNREADABLE or not number.normal.lstrip("+").isdecimal()


def _values(number: PhoneNumber) -> Iterable[str]:
    yield number.normal
    # People write the national prefix behind the calling code, too, as in +49 030.
    if number.e164 is not None and (dialled := as_dialled(number.e164)) is not None:
        yield dialled


def _with_old_forms(written: str, values: Iterable[str]) -> Iterable[str]:
    """Add what earlier versions stored: what RingCentral wrote, which is often without `+`, or national."""
    yield from values
    yield written.strip()
    for value in values:
        if value.startswith("+"):
            yield value[1:]
        if value.startswith("+1"):
            yield value[2:]


def _reason(region: str | None) -> str:
    if region is None:
        return (
            "The number has no country code, and the country of the account is not known. Write it with `+` "
            "and its country code, or set AFTERCALL_HOME_COUNTRY."
        )
    return (
        f"The number is not complete, or is not a number in {region}. Write it with its area code, or with "
        "`+` and its country code."
    )
