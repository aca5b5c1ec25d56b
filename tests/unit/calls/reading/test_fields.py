"""The parameter `fields`: names, and what they leave of a value."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls.reading.fields import Shape, pick, read_fields
from app.calls.reading.parameters import call_shape
from app.calls.schemas import _CALL_EXAMPLE

SHAPE = Shape({"id": None, "from": Shape({"name": None, "number": None}), "raw": Shape(is_open=True)})


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("id", {"id": None}),
        ("id, from.name", {"id": None, "from": {"name": None}}),
        ("from.name,from.number", {"from": {"name": None, "number": None}}),
        ("from,from.name", {"from": None}),
        ("from.name,from", {"from": None}),
        ("raw.any.thing", {"raw": {"any": {"thing": None}}}),
    ],
)
def test_names_choose_fields(text: str, chosen: Any) -> None:
    assert read_fields(text, SHAPE) == chosen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,form", "There is no field `form`; there are from, id, raw"),
        ("from.nmae", "There is no field `from.nmae`; there are from.name, from.number"),
        ("id.x", "There is no field `id.x`: `id` has no fields of its own"),
        ("from.", "There is no field `from.`; there are from.name, from.number"),
        ("id,,from", "There is no field ``; there are from, id, raw"),
        (",".join(["id"] * 101), "Choose at most 100 fields"),
    ],
)
def test_unknown_names_are_refused_with_those_that_exist(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read_fields(text, SHAPE)
    assert str(refused.value) == message


def test_lists_are_gone_through_and_nulls_stay() -> None:
    value = {"id": 1, "from": None, "people": [{"name": "Ana", "age": 7}, {"age": 8}, None]}
    assert pick(value, {"from": {"name": None}, "people": {"name": None}}) == {
        "from": None,
        "people": [{"name": "Ana"}, {}, None],
    }


@given(st.sets(st.sampled_from(sorted(_CALL_EXAMPLE)), min_size=1))
def test_chosen_fields_of_a_call_are_those_of_the_whole_call(names: set[str]) -> None:
    shown = pick(_CALL_EXAMPLE, read_fields(",".join(names), call_shape()))
    assert shown == {name: _CALL_EXAMPLE[name] for name in names}


def test_fields_of_calls_are_known_down_to_their_parts() -> None:
    read_fields("from.phoneNumber,agents.email,readiness.record.state,records.anyOfRingCentral", call_shape())
    for name in ("from.phonenumber", "agents.mail", "readiness.fax", "provenance", "included"):
        with pytest.raises(ValueError, match="There is no field"):
            read_fields(name, call_shape())
