"""What is wrong with a request is said in plain words, and the refused value is not repeated."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from app.api.problems.messages import plain, unknown
from app.calls.attachments.inputs import Label


def _no_odd(value: int) -> int:
    if value % 2:
        raise ValueError("An even number is expected")
    return value


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=2, max_length=4, pattern="^[a-z]+$")] = "ab"
    score: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False, strict=True)] = 0
    hours: Annotated[float, Field(gt=0, lt=9)] = 1
    limit: int = 1
    has: bool = True
    items: Annotated[list[str], Field(min_length=1, max_length=2)] = ["a"]
    fields: dict[str, int] = {}
    inner: "Shape | None" = None
    label: Label = Label.MIXED
    view: Literal["Simple", "Detailed"] = "Simple"
    at: AwareDatetime | None = None
    even: Annotated[int, AfterValidator(_no_odd)] = 0


def said(place: str, **fields: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        Shape(**fields)
    (error,) = refused.value.errors()
    return plain({**error, "loc": (place, *error["loc"])})


TIME = "A time such as 2026-03-10T18:00:00Z (RFC 3339) is expected"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"text": 7}, "A string is expected, not a number"),
        ({"text": None}, "A string is expected, not null"),
        ({"text": "a"}, "The least number of characters is 2"),
        ({"text": "abcde"}, "The greatest number of characters is 4"),
        ({"text": "AB"}, "Text of this form is expected: ^[a-z]+$"),
        ({"score": "1"}, "A number is expected, not a string"),
        ({"score": 1.5}, "A number of at most 1 is expected"),
        ({"score": -1.5}, "A number of at least -1 is expected"),
        ({"score": float("nan")}, "A finite number is expected"),
        ({"hours": 0}, "A number above 0 is expected"),
        ({"hours": 9}, "A number below 9 is expected"),
        ({"limit": 1.5}, "A whole number is expected"),
        ({"limit": []}, "A whole number is expected, not an array"),
        ({"has": "perhaps"}, "True or false is expected, not a string"),
        ({"items": "a"}, "An array is expected, not a string"),
        ({"items": []}, "The least number of items is 1, and 0 came"),
        ({"items": ["a", "b", "c"]}, "The greatest number of items is 2, and 3 came"),
        ({"fields": True}, "An object is expected, not a boolean"),
        ({"inner": "x"}, "An object is expected, not a string"),
        ({"label": "cheerful"}, "One of these is expected: positive, neutral, negative or mixed"),
        ({"view": {}}, "One of these is expected: Simple or Detailed"),
        ({"at": "yesterday"}, TIME),
        ({"at": []}, f"{TIME}, not an array"),
        ({"at": "2026-03-10T18:00:00"}, "A time with its offset, such as 2026-03-10T19:00:00+01:00 or with Z, is expected"),
        ({"even": 3}, "An even number is expected"),
        ({"colour": 1}, "There is no such field"),
    ],
)  # fmt: skip
def test_each_usual_error_has_words_of_its_own(fields: dict[str, Any], words: str) -> None:
    assert said("body", **fields) == words


def test_an_address_has_only_text_so_its_kind_is_not_worth_a_word() -> None:
    assert said("query", limit="abc") == "A whole number is expected"


def test_an_unusual_error_keeps_pydantics_words() -> None:
    unusual = {
        "type": "uuid_parsing",
        "loc": ("body", "id"),
        "msg": "Input should be a valid UUID",
        "input": "x",
    }
    assert plain(unusual) == "Input should be a valid UUID"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("wiat", "wait"), ("Until", "until"), ("started_after", "startedAfter"), ("startAfter", "startedAfter")],
)
def test_a_misspelt_name_brings_the_nearest(name: str, meant: str) -> None:
    found = unknown("parameter", name, {"wait", "until", "startedAfter", "endedAfter"})
    assert found == f"There is no parameter `{name}`; did you mean `{meant}`?"


def test_a_name_like_no_other_brings_them_all() -> None:
    assert unknown("parameter", "q", {"wait", "until"}) == "There is no parameter `q`; there are until, wait"
    assert unknown("parameter", "q", set()) == "There is no parameter `q`; there are none here"
    assert len(unknown("parameter", "q" * 10_000, set())) < 120
