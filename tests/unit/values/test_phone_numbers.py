"""Numbers as RingCentral and people write them, and what they mean."""

import pytest

from app.values.phone_numbers import NumberKind, PhoneNumber, read_phone_number
from app.values.widths import PHONE_NUMBER

DANA = "+15550179001"


def read(raw: str, region: str | None = None) -> PhoneNumber:
    number = read_phone_number(raw, region)
    assert number is not None
    return number


@pytest.mark.parametrize(
    ("raw", "region", "e164"),
    [
        # RingCentral's own spellings, which need no region
        ("+12055550033", None, "+12055550033"),
        ("12055550033", None, "+12055550033"),
        ("18665550106", None, "+18665550106"),
        ("15550100101", None, "+15550100101"),
        # as people and CRMs write them
        ("+1 866-555-0106", None, "+18665550106"),
        ("+1 (866) 555-0106", None, "+18665550106"),
        ("(866) 555-0106", None, "+18665550106"),
        ("(866) 555-0106", "US", "+18665550106"),
        ("866.555.0106", "us", "+18665550106"),
        ("1-866-555-0106", "CA", "+18665550106"),
        ("8665550106", "US", "+18665550106"),
        ("(555) 017-9001", "US", DANA),
        ("\u202a+1\u00a0866\u2011555\u20110106\u202c", None, "+18665550106"),
        ("\uff0b\uff11\uff18\uff16\uff16\uff15\uff15\uff15\uff10\uff11\uff10\uff16", None, "+18665550106"),
        ("+\u0669\u0666\u0666\u0665\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667", None, "+966501234567"),
        # prefixes of regions
        ("011 1 555 017 9001", "US", DANA),
        ("00 1 555 017 9001", "DE", DANA),
        ("0011 1 555 017 9001", "AU", DANA),
        ("8~10 1 555 017 9001", "RU", DANA),
        ("00 1 555 017 9001", "US", DANA),
        ("00 1 555 017 9001", None, DANA),
        ("011 1 555 017 9001", None, DANA),
        ("0061 2 9374 4000", "AU", "+61293744000"),
        ("030 1234567", "DE", "+49301234567"),
        ("(0)30 1234567", "DE", "+49301234567"),
        ("+49 (0)30 1234567", None, "+49301234567"),
        ("+49/30/1234567", None, "+49301234567"),
        ("0049301234567", "DE", "+49301234567"),
        ("49301234567", "DE", "+49301234567"),
        ("301234567", "DE", "+49301234567"),
        ("020 7946 0018", "GB", "+442079460018"),
        ("+44 (0)20 7946 0018", "GB", "+442079460018"),
        ("442079460018", "GB", "+442079460018"),
        ("442079460018", "US", "+442079460018"),
        ("442079460018", None, "+442079460018"),
        ("12055550033", "DE", "+12055550033"),
        ("06 1234 5678", "IT", "+390612345678"),
        ("+39 (0)6 1234 5678", None, "+390612345678"),
        ("3906123456", "IT", "+393906123456"),
        ("9123456789", "IN", "+919123456789"),
        ("8 495 123 45 67", "RU", "+74951234567"),
        ("21 23 45 67", "NO", "+4721234567"),
        ("6123 4567", "SG", "+6561234567"),
        # a `+` says that the digits are complete, whatever the tables know
        ("+1 555 017 90", None, "+155501790"),
        ("+290 12345", "US", "+29012345"),
        ("+999 1234567", None, "+9991234567"),
        # URIs
        ("tel:+1-555-017-9001", None, DANA),
        ("tel:555-017-9001;phone-context=+1", "DE", DANA),
        ("sip:+15550179001@sip.example.com;user=phone", None, DANA),
        ("sips:%2B15550179001@sip.example.com", None, DANA),
        ('"Dana Field" <sip:+15550179001@sip.example.com;user=phone>;tag=1', None, DANA),
        ("+15550179001@example.com", None, DANA),
        ("%2B15550179001", None, DANA),
    ],
)  # fmt: skip
def test_a_number_is_read_in_its_usual_spellings(raw: str, region: str | None, e164: str) -> None:
    assert read(raw, region) == PhoneNumber(raw, NumberKind.FULL, e164)


@pytest.mark.parametrize(
    ("raw", "e164"),
    [
        ("14567891230*102", "+14567891230"),
        ("+15550100100*102", "+15550100100"),
        ("+1 555 010 0100 x102", "+15550100100"),
        ("+1 (555) 010-0100 Ext. 102", "+15550100100"),
        ("+1 555 010 0100 extension 102", "+15550100100"),
        ("+15550100100;ext=102", "+15550100100"),
        ("+15550100100,102", "+15550100100"),
        ("+15550100100#102", "+15550100100"),
        ("tel:+1-555-010-0100;ext=102", "+15550100100"),
        ("sip:+15550100100;ext=102@example.com", "+15550100100"),
    ],
)
def test_an_extension_behind_a_number_is_kept_apart(raw: str, e164: str) -> None:
    assert read(raw) == PhoneNumber(raw, NumberKind.FULL, e164, "102")


@pytest.mark.parametrize(
    ("raw", "region", "extension"),
    [
        ("101", None, "101"),
        ("101", "US", "101"),
        ("101", "GB", "101"),  # a public number there, and the first extension of many companies
        ("911", "DE", "911"),
        ("x102", "US", "102"),
        ("Ext. 102", None, "102"),
        ("sip:101@example.com", None, "101"),
        ("123456", "DE", "123456"),
        ("5550101", "US", "5550101"),
        ("21234567", "DE", "21234567"),
    ],
)
def test_a_short_number_is_an_extension(raw: str, region: str | None, extension: str) -> None:
    assert read(raw, region) == PhoneNumber(raw, NumberKind.EXTENSION, None, extension)


@pytest.mark.parametrize(
    ("raw", "region"),
    [
        ("*80", None), ("*801", "US"), ("* 67", None), ("#31#", "DE"), ("conference", None),
        ("Conference", "US"), ("911", None), ("911", "US"), ("112", None), ("112", "US"), ("112", "DE"),
        ("411", None), ("411", "US"), ("611", "CA"), ("988", "US"), ("110", "DE"), ("999", "GB"),
        ("000", "AU"), ("116117", "DE"), ("118118", "GB"), ("15", "FR"),
    ],
)  # fmt: skip
def test_codes_and_public_services_are_services(raw: str, region: str | None) -> None:
    assert read(raw, region) == PhoneNumber(raw, NumberKind.SERVICE)


@pytest.mark.parametrize(
    "raw",
    [
        "anonymous", "Anonymous", "RESTRICTED", "Unavailable", "unknown", "Private", "Private number",
        "PRIVATE_NUMBER", "blocked", "No Caller ID", "sip:anonymous@anonymous.invalid",
    ],
)  # fmt: skip
def test_words_for_a_withheld_number_have_one_form(raw: str) -> None:
    number = read(raw)
    assert number == PhoneNumber(raw, NumberKind.WITHHELD)
    assert number.normal == "anonymous"


@pytest.mark.parametrize(
    ("raw", "region"),
    [
        ("+1555010XXXX", None), ("+1555010X012", None), ("XXXX", None), ("Dana Field", "US"), ("+", None),
        ("+101", "US"), ("+1234567890123456", None), ("1234567890123456789012", "DE"), ("555-0101", "US"),
        ("030 1234567", None), ("030 1234567", "US"), ("911*1", None), ("101*102", None), ("\ud83d", None),
        ("1-800-FLOWERS", "US"), ("5" * (PHONE_NUMBER + 1), "US"), ("\0", None),
    ],
)  # fmt: skip
def test_anything_else_is_unreadable(raw: str, region: str | None) -> None:
    assert read(raw, region) == PhoneNumber(raw, NumberKind.UNREADABLE)


@pytest.mark.parametrize("raw", [None, "", "   ", "\u00a0", " " * 1000])
def test_no_text_is_no_number(raw: str | None) -> None:
    assert read_phone_number(raw, "US") is None


def test_the_raw_text_is_kept_without_its_margins() -> None:
    assert read("  (866) 555-0106 ", "US").raw == "(866) 555-0106"


def test_an_unknown_region_counts_as_none() -> None:
    for region in ("XX", "USA", "", "\u0130", "001"):
        assert read("18665550106", region).e164 == "+18665550106"
        assert read("030 1234567", region).kind is NumberKind.UNREADABLE


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("+1 866-555-0106", "+18665550106"), ("14567891230*102", "+14567891230"), ("Ext. 102", "102"),
        ("Restricted", "anonymous"), ("Conference", "conference"), ("* 80", "*80"),
        ("+1 555 010 XXXX", "+1555010xxxx"), ("030 1234567", "0301234567"), ("...", "..."),
    ],
)  # fmt: skip
def test_every_number_has_a_normal_form(raw: str, normal: str) -> None:
    assert read(raw).normal == normal
