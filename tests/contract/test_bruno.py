"""The requests of `examples/bruno` are requests of the API."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema_rs
import pytest

from app.main import create_app
from app.settings import read_settings
from tests.conftest import SECRETS

FOLDER = Path(__file__).parents[2] / "examples" / "bruno"
REQUESTS = sorted(FOLDER.glob("*.bru"))
URL = re.compile(r"^(get|post|put|patch|delete) \{\n  url: \{\{api\}\}([^?\n]+)(?:\?(.*))?$", re.MULTILINE)
BODY = re.compile(r"^body:json \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return create_app(read_settings(**SECRETS, database_url="sqlite:///unused.db")).openapi()


def operation(description: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    def matches(template: str) -> bool:
        return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) is not None

    # A path that is written out goes before one with a parameter in its place.
    template = min((one for one in description["paths"] if matches(one)), key=lambda one: one.count("{"))
    found: dict[str, Any] = description["paths"][template][method]
    return found


def test_there_are_requests() -> None:
    assert len(REQUESTS) >= 10


@pytest.mark.parametrize("file", REQUESTS, ids=lambda file: file.stem)
def test_a_request_is_one_of_the_api(file: Path, description: dict[str, Any]) -> None:
    text = file.read_text()
    found = URL.search(text)
    assert found, text
    method, path, query = found.groups()
    described = operation(description, method, path.replace("{{call}}", "1229016182016"))

    named = {one["name"] for one in described.get("parameters", []) if one["in"] == "query"}
    assert {name for name, _ in parse_qsl(query or "")} <= named

    body = BODY.search(text)
    assert (body is not None) == ("requestBody" in described)
    if body is not None:
        schema = described["requestBody"]["content"]["application/json"]["schema"]
        whole = {**schema, "components": description["components"]}
        jsonschema_rs.validate(whole, json.loads(body[1]))
