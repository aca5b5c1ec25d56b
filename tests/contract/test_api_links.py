"""The links of the API description lead to operations and parameters that exist, from values that the
response has. That they work is tested by tests/contract/test_fuzz_workflows.py.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from app.ops.api_links import describe_links
from tests.described import describe

SCHEMAS = "#/components/schemas/"
EXPRESSION = re.compile(
    r"\$(request\.(path|query)\.(?P<parameter>[\w-]+)|response\.(header\.ETag|body#(?P<place>(/\w+)+)))"
)


def operations() -> dict[str, Any]:
    methods = [one for path in describe()["paths"].values() for one in path.values()]
    return {operation["operationId"]: operation for operation in methods}


def links() -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Yield the source's name, the link's name, the link, and the response that has it."""
    for source, operation in operations().items():
        for response in operation["responses"].values():
            for name, link in response.get("links", {}).items():
                yield source, name, link, response


def find(schema: dict[str, Any], place: list[str]) -> bool:
    """Whether a value of this schema can have something at a JSON pointer."""
    while "$ref" in schema:
        schema = describe()["components"]["schemas"][schema["$ref"].removeprefix(SCHEMAS)]
    if not place:
        return True
    if any(find(choice, place) for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ()))):
        return True
    if schema.get("additionalProperties") is True:
        return True  # RingCentral's own object, which is not described
    first, *rest = place
    if first == "0" and "items" in schema:
        return find(schema["items"], rest)
    return first in schema.get("properties", {}) and find(schema["properties"][first], rest)


def test_links_take_their_parameters_from_what_is_there() -> None:
    known, count = operations(), 0
    for source, name, link, response in links():
        taken = {one["name"] for one in known[link["operationId"]].get("parameters", ())}
        assert set(link["parameters"]) <= taken, (source, name)
        for expression in link["parameters"].values():
            found = EXPRESSION.fullmatch(expression)
            assert found is not None, (source, name, expression)
            if found["parameter"]:
                assert found["parameter"] in {one["name"] for one in known[source]["parameters"]}
            elif found["place"]:
                (content,) = (
                    body for kind, body in response["content"].items() if kind == "application/json"
                )
                assert find(content["schema"], found["place"].split("/")[1:]), (source, name, expression)
            else:
                assert "ETag" in response["headers"], (source, name)
        count += 1
    assert count > 150


def test_whatever_has_an_id_in_its_path_is_led_to() -> None:
    known = operations()
    led_to = {link["operationId"] for _, _, link, _ in links()}
    with_id = {
        name for name, one in known.items() if any(p["in"] == "path" for p in one.get("parameters", ()))
    }
    read_by_choice = {
        "explain_problem",
        # These take the id of an extension or of a record from a list of RingCentral's.
        "batch_get_extension_call_log_records",
    }
    assert with_id - led_to == read_by_choice


def test_every_list_with_a_cursor_links_to_its_next_page() -> None:
    paged = {source for source, name, *_ in links() if name == "next_page"}
    with_cursor = {
        name
        for name, one in operations().items()
        if any(parameter["name"] == "cursor" for parameter in one.get("parameters", ()))
    }
    # A stream and the exports have no pages.
    assert with_cursor - paged == {"stream_changes", "export_ndjson", "export_csv"}
    calls = next(link for source, name, link, _ in links() if (source, name) == ("list_calls", "next_page"))
    assert calls["parameters"]["cursor"] == "$response.body#/nextCursor"
    assert calls["parameters"]["direction"] == "$request.query.direction", "with the same filters"


def test_a_link_to_what_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError):
        describe_links({"paths": {}, "components": {"schemas": {}}})
