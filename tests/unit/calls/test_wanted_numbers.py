"""The filter by a phone number: what a client has written, and which stored values it means."""

import pytest

from app.calls.listing.numbers import WantedNumber, read_wanted_number
from app.errors import Unprocessable


@pytest.mark.parametrize(
    ("written", "region", "values"),
    [
        ("+18665550106", None, ("+18665550106",)),
        (" 18665550106", None, ("+18665550106",)),  # the `+` was not escaped in the URL
        ("(866) 555-0106", "US", ("+18665550106",)),
        ("0018665550106", "DE", ("+18665550106",)),
        ("+49 030 1234567", "DE", ("+490301234567", "+49301234567")),
        (" 49 30 1234567", "US", ("+49301234567",)),
        (" 8665550106", "US", ("+18665550106", "+8665550106")),  # or an unescaped `+86`, or a pasted margin
        ("101", "US", ("101",)),
        (" 101", "US", ("101",)),
        ("911", "US", ("911",)),
        ("Restricted", None, ("anonymous",)),
        ("conference", None, ("conference",)),
        ("+1 555 017 XXXX", "US", ("+1555017xxxx",)),
    ],
)
def test_a_written_number_is_looked_for_in_its_normal_form(
    written: str, region: str | None, values: tuple[str, ...]
) -> None:
    assert read_wanted_number(written, region) == WantedNumber(values)


def test_the_extension_behind_a_number_is_looked_for_as_well() -> None:
    assert read_wanted_number("14567891230*102", None) == WantedNumber(("+14567891230",), "102")


@pytest.mark.parametrize(
    ("written", "region", "reason"),
    [
        ("030 1234567", None, "the country of the account is not known"),
        ("030 1234567", "US", "is not a number in US"),
        ("555-0101", "US", "Write it with its area code"),
        ("+12", None, "the country of the account is not known"),
        ("", "US", "is not a number in US"),
    ],
)
def test_a_number_that_is_none_is_refused_with_the_reason(
    written: str, region: str | None, reason: str
) -> None:
    with pytest.raises(Unprocessable, match=reason) as refused:
        read_wanted_number(written, region)
    assert refused.value.extra == {"parameter": "phoneNumber"}
