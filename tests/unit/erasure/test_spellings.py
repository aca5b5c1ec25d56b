"""Numbers are found however people spell them, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.erasure.spellings import ERASED, SEPARATORS, spelling_of_id, spelling_of_number

NUMBERS = ("+15550179001", "+442079460123", "+4930901820", "+4520123456", "+390612345678", "+34911234567")
BETWEEN = st.sampled_from(("", *SEPARATORS[:11]))


@st.composite
def spelled(draw: st.DrawFn) -> tuple[str, str]:
    """A number in E.164, and a spelling of it with its calling code."""
    e164 = draw(st.sampled_from(NUMBERS))
    digits = "".join(digit + draw(BETWEEN) for digit in e164[1:-1]) + e164[-1]
    return e164, draw(st.sampled_from(("+", "00", "011", ""))) + digits


@given(
    spelled(), st.sampled_from(("", "call ", "(", "x", "\n", "tel:")), st.sampled_from(("", ".", " now", ","))
)
def test_any_spelling_is_taken_out_of_any_text(found: tuple[str, str], before: str, after: str) -> None:
    e164, text = found
    spelling = spelling_of_number(e164, None)
    whole = before + text + after
    assert spelling.is_in(whole)
    cleaned = spelling.taken_out({"a": [whole, {"b": whole}], whole: 1})
    assert not spelling.is_in(cleaned)
    assert cleaned["a"][0] == before + ERASED + after or before == "("
    assert spelling.taken_out(cleaned) == cleaned


@given(st.text(st.sampled_from("0123456789 +-x"), max_size=24))
def test_what_has_other_digits_is_left_alone(text: str) -> None:
    spelling = spelling_of_number("+15550179001", "US")
    if "5550179001" not in "".join(sign for sign in text if sign.isdigit()):
        assert spelling.taken_out(text) == text


@pytest.mark.parametrize(
    ("e164", "region", "text", "is_found"),
    [
        ("+15550179001", None, "(555) 017-9001", True),
        ("+15550179001", None, "5550179001", True),
        ("+15550179001", None, "15550179001*102", True),
        ("+15550179001", None, "s-15550179001", True),
        ("+15550179001", None, "915550179001", False),
        ("+15550179001", None, "155501790012", False),
        ("+442079460123", "GB", "020 7946 0123", True),
        ("+442079460123", None, "+44 (0)20 7946 0123", True),
        ("+4520123456", "DK", "20 12 34 56", True),
        ("+4520123456", "US", "20123456", False),
        ("+4520123456", "US", "+45 20123456", True),
        ("+4930901820", None, "+49 030 901820", True),
    ],
)
def test_the_country_decides_about_numbers_without_a_code(
    e164: str, region: str | None, text: str, is_found: bool
) -> None:
    assert spelling_of_number(e164, region).is_in(text) is is_found


def test_json_numbers_and_bytes_are_read_as_well() -> None:
    spelling = spelling_of_number("+15550179001", None)
    assert spelling.taken_out([15550179001, True, None, 1.5, 42]) == [ERASED, True, None, 1.5, 42]
    assert spelling.is_in(b'{"from":"+15550179001"}')
    assert not spelling.is_in(True)


def test_an_id_is_found_alone() -> None:
    spelling = spelling_of_id("711000101")
    assert spelling.is_in(b'{"extensionId":711000101,"x":1}')
    assert not spelling.is_in("7110001011")
