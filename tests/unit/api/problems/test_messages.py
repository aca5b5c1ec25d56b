"""Validation messages are in plain words and do not repeat the refused value."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from app.api.problems.messages import describe_error, describe_unknown
from app.calls.attachments.rules.labels import Label


def _no_odd(value: int) -> int:
    if value % 2:
        raise ValueError("Must be even")
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
    return describe_error({**error, "loc": (place, *error["loc"])})


TIME = "Must be a time in the format of RFC 3339, such as 2026-03-10T18:00:00Z"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"text": 7}, "Must be a string, not a number"),
        ({"text": None}, "Must be a string, not null"),
        ({"text": "a"}, "The length must be at least 2"),
        ({"text": "abcde"}, "The length must be at most 4"),
        ({"text": "AB"}, "Must match the pattern ^[a-z]+$"),
        ({"score": "1"}, "Must be a number, not a string"),
        ({"score": 1.5}, "Must be at most 1"),
        ({"score": -1.5}, "Must be at least -1"),
        ({"score": float("nan")}, "Must be a finite number"),
        ({"hours": 0}, "Must be greater than 0"),
        ({"hours": 9}, "Must be less than 9"),
        ({"limit": 1.5}, "Must be a whole number"),
        ({"limit": []}, "Must be a whole number, not an array"),
        ({"has": "perhaps"}, "Must be true or false, not a string"),
        ({"items": "a"}, "Must be an array, not a string"),
        ({"items": []}, "The number of items must be at least 1, not 0"),
        ({"items": ["a", "b", "c"]}, "The number of items must be at most 2, not 3"),
        ({"fields": True}, "Must be an object, not a boolean"),
        ({"inner": "x"}, "Must be an object, not a string"),
        ({"label": "cheerful"}, "Must be one of positive, neutral, negative or mixed"),
        ({"view": {}}, "Must be one of Simple or Detailed"),
        ({"at": "yesterday"}, TIME),
        ({"at": []}, f"{TIME}, not an array"),
        ({"at": "2026-03-10T18:00:00"},
         "Must be a time with its offset, such as 2026-03-10T19:00:00+01:00 or Z"),
        ({"even": 3}, "Must be even"),
        ({"colour": 1}, "Unknown field"),
    ],
)  # fmt: skip
def test_common_errors_have_their_own_messages(fields: dict[str, Any], words: str) -> None:
    assert said("body", **fields) == words


def test_messages_about_parameters_do_not_name_a_json_type() -> None:
    assert said("query", limit="abc") == "Must be a whole number"


def test_uncommon_errors_keep_pydantics_message() -> None:
    unusual = {
        "type": "uuid_parsing",
        "loc": ("body", "id"),
        "msg": "Input should be a valid UUID",
        "input": "x",
    }
    assert describe_error(unusual) == "Input should be a valid UUID"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("wiat", "wait"), ("Until", "until"), ("started_after", "startedAfter"), ("startAfter", "startedAfter")],
)
def test_a_misspelled_name_suggests_the_nearest_one(name: str, meant: str) -> None:
    found = describe_unknown("parameter", name, {"wait", "until", "startedAfter", "endedAfter"})
    assert found == f"Unknown parameter `{name}`; did you mean `{meant}`?"


def test_an_unknown_name_without_a_similar_one_lists_all() -> None:
    assert (
        describe_unknown("parameter", "q", {"wait", "until"})
        == "Unknown parameter `q`; known are until, wait"
    )
    assert describe_unknown("parameter", "q", set()) == "Unknown parameter `q`; none are accepted here"
    assert len(describe_unknown("parameter", "q" * 10_000, set())) < 120
