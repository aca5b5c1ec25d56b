"""The catalogue of changes, the page about it and the description of the API agree."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import app
from app.calls.attachments.stored import KINDS
from app.calls.feed.catalogue import CHANGE_TYPES, ChangeData, ChangeType
from app.calls.feed.schemas import Changes
from app.calls.media.recordings import State

PAGE = Path(__file__).parents[2] / "docs/api/changes.md"
_WRITERS = ("open", "change", "move")
_WORD = re.compile(r"[a-z]+\.[a-z]+")


def row(one: ChangeType) -> str:
    """The line of the page about one type."""
    own = [
        field.alias for name, field in one.data.model_fields.items() if name not in ChangeData.model_fields
    ]
    return f"| `{one.name}` | {one.when} | {', '.join(f'`{name}`' for name in own) or '–'} |"


def test_the_page_lists_every_type() -> None:
    listed = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert listed == [row(one) for one in CHANGE_TYPES]


def test_names_are_unique_and_of_one_form() -> None:
    names = [one.name for one in CHANGE_TYPES]
    assert len(names) == len(set(names))
    assert all(_WORD.fullmatch(name) for name in names)


@pytest.mark.parametrize("one", CHANGE_TYPES, ids=lambda one: one.name)
def test_the_example_has_exactly_what_the_model_describes(one: ChangeType) -> None:
    read = one.data.model_validate(one.example).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert set(read) == set(one.example)


def written_in_code() -> Iterator[tuple[str, str, set[str]]]:
    """Each change that the code writes with a literal type: where, its type, and the fields of its data."""
    for path in sorted(Path(app.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in _WRITERS or not ast.unparse(node.func.value).endswith("ledger"):
                continue
            types = [one.value for one in node.args if isinstance(one, ast.Constant)]
            for name in (one for one in types if isinstance(one, str) and _WORD.fullmatch(one)):
                yield f"{path.name}:{node.lineno}", name, {word.arg for word in node.keywords if word.arg}


def test_the_catalogue_describes_every_change_that_the_code_writes() -> None:
    known = {one.name: {field.alias for field in one.data.model_fields.values()} for one in CHANGE_TYPES}
    found = list(written_in_code())
    assert len({name for _, name, _ in found}) >= 10
    assert [one for one in found if one[1] not in known or not one[2] <= known[one[1]]] == []


def test_attachments_and_recordings_write_types_of_the_catalogue() -> None:
    names = {one.name for one in CHANGE_TYPES}
    attached = {event for kind in KINDS for event in (kind.created, kind.changed, f"{kind.word}.deleted")}
    assert attached <= names
    assert {f"recording.{state.value}" for state in State} <= names


def test_the_description_discriminates_by_type() -> None:
    schema = Changes.model_json_schema(by_alias=True, ref_template="{model}")
    items = schema["properties"]["data"]["items"]
    assert items["discriminator"]["propertyName"] == "type"
    assert set(items["discriminator"]["mapping"]) == {one.name for one in CHANGE_TYPES}
