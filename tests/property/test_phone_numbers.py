"""Numbers of every region: each usual spelling of one number is read as that number, and no text raises."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

from app.values.phone_numbers import NumberKind, read_phone_number

# The example numbers of a table are valid, so the tests below are about spellings and not about tables.
# Fewer digits than nine can be an extension as well.
EXAMPLES = [
    (region, number)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE)
    if (number := phonenumbers.example_number_for_type(region, kind)) is not None
    and len(phonenumbers.national_significant_number(number)) > 8
]
SIGNS = "+0123456789 ()-./*#xXext;:=,@<>%_~\uff11\u0663\u202a\ud83d\0 anonymousTEL"

regions = st.sampled_from([None, "US", "GB", "DE", "IT", "NO", "AU", "XX"])


@given(st.text() | st.text(SIGNS, max_size=200), regions)
def test_no_text_raises(text: str, region: str | None) -> None:
    number = read_phone_number(text, region)
    if number is None:
        assert not text.strip()
        return
    assert number.raw == text.strip()
    assert (number.e164 is not None) == (number.kind is NumberKind.FULL)
    assert number.normal


@given(st.text(SIGNS, max_size=30) | st.text("+0123456789-*", min_size=9, max_size=18), regions, regions)
def test_reading_the_result_again_gives_the_same(text: str, region: str | None, other: str | None) -> None:
    number = read_phone_number(text, region)
    if number is None or number.e164 is None:
        return
    again = read_phone_number(number.e164, other)
    assert again is not None
    assert (again.kind, again.e164, again.normal) == (NumberKind.FULL, number.e164, number.e164)


@given(st.sampled_from(EXAMPLES))
def test_every_usual_spelling_of_one_number_is_that_number(example: tuple[str, PhoneNumber]) -> None:
    region, number = example
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    spellings = {
        e164,
        phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL),
        phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL),
        phonenumbers.format_number(number, PhoneNumberFormat.RFC3966),
        f"sip:{e164}@sip.example.com;user=phone",
        f"{e164}*102",
        f"{e164};ext=102",
    }
    read = {spelling: read_phone_number(spelling, region) for spelling in spellings}
    for caller in ("US", "GB", "AU", "BR"):  # as dialled from there
        spelling = phonenumbers.format_out_of_country_calling_number(number, caller)
        read[f"{spelling} in {caller}"] = read_phone_number(spelling, caller)
    assert {spelling: found and found.e164 for spelling, found in read.items()} == dict.fromkeys(read, e164)


@given(st.integers(2_000_000_000, 9_999_999_999), st.sampled_from([None, "US", "CA"]))
def test_every_number_of_ten_digits_is_north_american(national: int, region: str | None) -> None:
    digits = str(national)
    area, exchange, line = digits[:3], digits[3:6], digits[6:]
    for spelling in (
        digits,
        f"1{digits}",
        f"+1{digits}",
        f"({area}) {exchange}-{line}",
        f"+1 {area}-{exchange}-{line}",
        f"1.{area}.{exchange}.{line}",
        f"011 1 {digits}",
        f"001{digits}",
    ):
        number = read_phone_number(spelling, region)
        assert number is not None
        assert number.e164 == f"+1{digits}", spelling


@pytest.mark.parametrize("sign", ["+", "(", "x1", " ", "*", "ext", "<", "%2", "1", ";ext="])
def test_long_text_is_not_read(sign: str) -> None:
    number = read_phone_number(f"a{sign * 100_000}", "US")
    assert number is not None
    assert number.kind is NumberKind.UNREADABLE
