"""Our own API description: valid, complete, and pleasant to whoever writes a connector against it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from app.ops.api_docs import TAGS
from tests.described import describe

JSON = "application/json"
PROBLEM = "application/problem+json"
SENTENCE = re.compile(r"[A-Z].*[^.]", re.DOTALL)


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return describe()


def operations(description: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    assert len(description["paths"]) > 20
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def find(description: dict[str, Any], reference: str) -> Any:
    place: Any = description
    for part in reference.removeprefix("#/").split("/"):
        place = place[part.replace("~1", "/").replace("~0", "~")]
    return place


def references(node: Any) -> Iterator[str]:
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from references(part)
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        yield node["$ref"]


def resolved(description: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = find(description, node["$ref"]) if "$ref" in node else node
    return found


def has_example(description: dict[str, Any], node: Any, seen: frozenset[str] = frozenset()) -> bool:
    """Whether this node, or anything that it is made of, carries an example."""
    if isinstance(node, list):
        return any(has_example(description, part, seen) for part in node)
    if not isinstance(node, dict):
        return False
    if "example" in node or "examples" in node or "const" in node:
        return True
    reference = node.get("$ref")
    if reference is not None:
        return reference not in seen and has_example(
            description, find(description, reference), seen | {reference}
        )
    return any(has_example(description, part, seen) for part in node.values())


def test_the_description_is_valid_openapi(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(description).validate()


def test_every_reference_resolves(description: dict[str, Any]) -> None:
    broken = []
    for reference in set(references(description)):
        try:
            find(description, reference)
        except KeyError:
            broken.append(reference)
    assert broken == []


def test_every_operation_has_a_summary_and_a_unique_id(description: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(description)]
    assert len(set(names)) == len(names)
    # FastAPI's own guess is the function's name in capitals: a summary is a sentence.
    guessed = [
        name
        for name, operation in operations(description)
        if not SENTENCE.fullmatch(operation["summary"]) or operation["summary"].istitle()
    ]
    assert guessed == []


def test_every_operation_has_a_described_tag(description: dict[str, Any]) -> None:
    explained = {tag["name"] for tag in description["tags"]}
    assert explained == {tag["name"] for tag in TAGS}
    used = {tag for _, operation in operations(description) for tag in operation["tags"]}
    assert used == explained


def test_every_route_with_a_key_describes_its_problems(description: dict[str, Any]) -> None:
    for name, operation in operations(description):
        if not operation["security"]:
            continue
        answers = operation["responses"]
        for status in ("401", "403", "422", "503"):
            assert status in answers, f"{name} says nothing of {status}"


def test_every_error_of_the_api_is_a_problem(description: dict[str, Any]) -> None:
    errors = {
        (name, status): list(resolved(description, answer)["content"])
        for name, operation in operations(description)
        for status, answer in operation["responses"].items()
        if status >= "400" and name != "GET /readyz"
    }
    assert len(errors) > 100
    assert {place: content for place, content in errors.items() if content != [PROBLEM]} == {}


def test_every_request_body_and_path_has_an_example(description: dict[str, Any]) -> None:
    without = []
    for name, operation in operations(description):
        parts = [part for part in operation.get("parameters", ()) if part["in"] == "path"]
        if "requestBody" in operation:
            parts.append({"name": "body", "schema": operation["requestBody"]["content"][JSON]})
        without += [f"{name}: {part['name']}" for part in parts if not has_example(description, part)]
    assert without == []


def test_every_response_with_content_has_an_example(description: dict[str, Any]) -> None:
    without = []
    for name, operation in operations(description):
        for status, answer in operation["responses"].items():
            content = resolved(description, answer).get("content", {})
            without += [
                f"{name} {status}" for shape in content.values() if not has_example(description, shape)
            ]
    assert without == []


def test_every_route_of_version_1_requires_a_key(description: dict[str, Any]) -> None:
    assert all("security" in operation for _, operation in operations(description))
    open_to_all = {name for name, operation in operations(description) if not operation["security"]}
    assert open_to_all == {
        "POST /webhooks/ringcentral",
        "GET /healthz",
        "GET /readyz",
        "GET /problems/{kind}",
    }
