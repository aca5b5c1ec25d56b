"""If one schema is said to be contained in another, no value shows the contrary."""

from typing import Any

import jsonschema_rs
from hypothesis import assume, event, given
from hypothesis import strategies as st

from tests.description.containment import Containment

NAMES = ("a", "b", "c")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "bb", "ccc", 1.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=5,
)


def limited(kind: str, least: str, most: str) -> st.SearchStrategy[dict[str, Any]]:
    limits = st.fixed_dictionaries({}, optional={least: st.integers(0, 2), most: st.integers(0, 3)})
    return limits.map(lambda found: {"type": kind, **found})


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
            "required": st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
            "additionalProperties": st.booleans() | inner,
        },
    )


SIMPLE = (
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"type": "number"}, {}])
    | limited("string", "minLength", "maxLength")
    | limited("integer", "minimum", "maximum")
    | st.lists(st.sampled_from(["a", "bb", 1, None]), min_size=1, max_size=3, unique=True).map(
        lambda values: {"enum": values}
    )
)
SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    SIMPLE,
    lambda inner: (
        objects(inner)
        | st.builds(
            lambda items, whole: {**whole, "items": items}, inner, limited("array", "minItems", "maxItems")
        )
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts})
        | st.builds(
            lambda one, parts: {**one, "anyOf": parts},
            objects(inner),
            st.lists(inner, min_size=1, max_size=2),
        )
    ),
    max_leaves=5,
)


def variations(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Yield schemas that are often contained in this one, or the reverse."""
    return st.sampled_from(
        [
            schema,
            {"anyOf": [schema, {"type": "null"}]},
            {key: value for key, value in schema.items() if not key.startswith(("min", "max"))},
            {key: value for key, value in schema.items() if key != "required"},
            {key: value for key, value in schema.items() if key != "properties"},
            {**schema, "required": ["a"]} if schema.get("type") == "object" else schema,
            {**schema, "additionalProperties": False} if schema.get("type") == "object" else schema,
        ]
    )


@given(st.data(), SCHEMAS, st.lists(VALUES, max_size=20))
def test_what_is_contained_accepts_nothing_else(data: st.DataObject, schema: Any, values: list[Any]) -> None:
    narrow, wide = data.draw(st.permutations([schema, data.draw(variations(schema) | SCHEMAS)]))
    assume(next(Containment({}, {}).differences(narrow, wide), None) is None)
    event("equal" if narrow == wide else "different")
    for value in values:
        if jsonschema_rs.is_valid(narrow, value):
            assert jsonschema_rs.is_valid(wide, value), (narrow, wide, value)


@given(SCHEMAS)
def test_a_schema_without_unions_contains_itself(schema: dict[str, Any]) -> None:
    assume("anyOf" not in str(schema))
    assert list(Containment({}, {}).differences(schema, schema)) == []
