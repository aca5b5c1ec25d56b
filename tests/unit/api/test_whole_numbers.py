"""Whole numbers in request bodies: one rule for all of them."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.api.schemas import ApiInput, Whole
from tests.described import describe

NUMBER: TypeAdapter[int] = TypeAdapter(Annotated[int, Whole(1, 50)])


@pytest.mark.parametrize("sent", ["20", "20.0", "2e1"])
def test_a_whole_number_is_accepted_in_either_spelling(sent: str) -> None:
    read = NUMBER.validate_json(sent)
    assert (read, type(read)) == (20, int)


@pytest.mark.parametrize("sent", ['"20"', "true", "false", "null", "20.5", "1e400", "0", "51", "[20]"])
def test_anything_else_is_refused(sent: str) -> None:
    with pytest.raises(ValidationError):
        NUMBER.validate_json(sent)


def test_the_description_has_the_limits() -> None:
    assert NUMBER.json_schema() == {"type": "integer", "minimum": 1, "maximum": 50}


def inputs(of: type[ApiInput] = ApiInput) -> Iterator[type[ApiInput]]:
    for one in of.__subclasses__():
        yield one
        yield from inputs(one)


def numbers() -> Iterator[tuple[type[ApiInput], str]]:
    """Every field of a request body that is a number, by the model."""
    describe()  # imports all routes
    for model in inputs():
        for name, shape in model.model_json_schema(by_alias=False)["properties"].items():
            types = {one.get("type") for one in (shape, *shape.get("anyOf", ()))}
            if types & {"integer", "number"} and "string" not in types:
                yield model, name


def test_no_number_of_a_request_body_is_read_from_a_text_or_a_boolean() -> None:
    found = list(numbers())
    assert len(found) >= 5
    for model, name in found:
        for wrong in ("1", True):
            assert errors_at(model, name, wrong), f"{model.__name__}.{name} takes {wrong!r}"


def errors_at(model: type[ApiInput], name: str, value: Any) -> bool:
    alias = model.model_fields[name].alias or name
    try:
        model.model_validate({alias: value})
    except ValidationError as error:
        return any(one["loc"][:1] == (alias,) for one in error.errors())
    return False
