"""What generators of clients need of the description: rules that hold for every route, also for new ones.

`make description` runs linters and generators over it.
"""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from app.main import create_app
from app.settings import read_settings
from tests.conftest import SECRETS

VERBS = (
    "add", "attach", "batch_get", "create", "delete", "disable", "enable", "explain", "export", "get", "list",
    "plan", "put", "receive", "recover", "resend", "revoke", "rotate", "run", "send", "stream", "test",
    "update", "verify",
)  # fmt: skip
"""What the name of an operation begins with. A new verb needs a reason: prefer one of these."""

SINGULAR_DATA = {"get_call_insights"}
"""Has `data`, but is no list: one item per recording of the call, and the readiness of all."""


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return create_app(read_settings(**SECRETS, database_url="sqlite:///unused.db")).openapi()


def operations(description: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def nodes(node: Any, place: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of the description that is not part of an example, and its place."""
    if isinstance(node, dict):
        yield place, node
    parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, part in parts:
        if name not in {"example", "examples"}:
            yield from nodes(part, f"{place}/{name}")


def examples(description: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield each example with its place and its schema."""
    for place, node in nodes(description):
        schema = node.get("schema", node)
        if "example" in node:
            yield f"{place}/example", schema, node["example"]
        several = node.get("examples", [])
        values = [one["value"] for one in several.values()] if isinstance(several, dict) else several
        for number, value in enumerate(values):
            yield f"{place}/examples/{number}", schema, value


def errors_in(description: dict[str, Any], schema: dict[str, Any], example: Any) -> list[str]:
    whole = {"allOf": [schema], "components": description["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    return [
        f"/{'/'.join(map(str, error.instance_path))}: {error.message}"
        for error in validator.iter_errors(example)
    ]


def test_every_example_is_valid_against_its_schema(description: dict[str, Any]) -> None:
    found = list(examples(description))
    assert len(found) > 200
    wrong = {
        place: errors
        for place, schema, example in found
        if (errors := errors_in(description, schema, example))
    }
    assert wrong == {}


def test_an_example_that_lacks_a_field_is_found(description: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/NoteOut"}
    example = description["components"]["schemas"]["NoteOut"]["example"]
    assert errors_in(description, schema, example) == []
    without = {name: value for name, value in example.items() if name != "sessionRef"}
    assert errors_in(description, schema, without) == ['/: "sessionRef" is a required property']


def test_operations_are_named_as_methods(description: dict[str, Any]) -> None:
    wrong = [
        operation["operationId"]
        for _, operation in operations(description)
        if not re.fullmatch(rf"({'|'.join(VERBS)})(_[a-z]+)+", operation["operationId"])
    ]
    assert wrong == []


def test_generators_make_no_methods_of_what_is_sent_to_the_client(description: dict[str, Any]) -> None:
    requests = {name: one["post"] for name, one in description["webhooks"].items()}
    assert len(requests) > 20
    assert [name for name, one in requests.items() if one.get("x-internal") is not True] == []


def test_every_operation_and_its_parameters_are_described(description: dict[str, Any]) -> None:
    without = [name for name, operation in operations(description) if not operation.get("description")]
    assert without == []


def test_schemas_have_plain_names(description: dict[str, Any]) -> None:
    """Two models of one name get the names of their modules: rename one of them."""
    names = description["components"]["schemas"]
    assert [name for name in names if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name)] == []


def test_no_field_has_a_default(description: dict[str, Any]) -> None:
    """openapi-typescript takes a field with a default for required, in requests, too."""
    assert [place for place, node in nodes(description["components"]) if "default" in node] == []


def test_every_list_has_the_form_of_a_page(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    lists, wrong = 0, []
    for name, operation in operations(description):
        content = operation["responses"].get("200", {}).get("content", {}).get("application/json")
        shape = schemas.get(content["schema"].get("$ref", "").rpartition("/")[2], {}) if content else {}
        if not name.startswith("GET ") or operation["operationId"] in SINGULAR_DATA:
            continue
        if shape.get("properties", {}).get("data", {}).get("type") != "array":
            continue
        lists += 1
        cursor = {
            key: value
            for key, value in shape["properties"].get("nextCursor", {}).items()
            if key not in {"description", "examples"}
        }
        # The feed has no last page.
        type_of_cursor = (
            {"type": "string"}
            if "hasMore" in shape["properties"]
            else {"anyOf": [{"type": "string"}, {"type": "null"}]}
        )
        if cursor != type_of_cursor or not {"data", "nextCursor"} <= set(shape["required"]):
            wrong.append(name)
    assert lists > 15
    assert wrong == []


def test_every_response_with_content_has_a_schema(description: dict[str, Any]) -> None:
    without = [
        f"{name} {status} {media_type}"
        for name, operation in operations(description)
        for status, answer in operation["responses"].items()
        for media_type, content in answer.get("content", {}).items()
        if not content.get("schema")
    ]
    assert without == []


def test_a_write_has_one_schema_whether_it_creates_or_replaces(description: dict[str, Any]) -> None:
    both = {
        name: [operation["responses"][status].get("content") for status in ("200", "201")]
        for name, operation in operations(description)
        if {"200", "201"} <= operation["responses"].keys()
    }
    assert len(both) >= 4
    assert {name for name, (replaced, created) in both.items() if not created or replaced != created} == set()


def test_the_description_says_whose_it_is(description: dict[str, Any]) -> None:
    assert description["info"]["license"] == {"name": "MIT", "identifier": "MIT"}
    assert description["info"]["contact"]
    assert description["servers"]
