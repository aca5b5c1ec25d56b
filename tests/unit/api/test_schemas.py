"""What the bases of requests and responses do to the API description."""

from typing import Any

from pydantic import ConfigDict, Field

from app.api.schemas import ApiInput, ApiModel, Page, hide_nulls, show_nulls


class Inner(ApiModel):
    """A part."""

    shown_at: str | None = None


class Sent(ApiInput):
    """A request."""

    model_config = ConfigDict(json_schema_extra={"example": {"kindOfNote": "plain", "author": None}})

    kind_of_note: str = Field("plain", description="What it is.")
    is_urgent: bool = False
    author: str | None = None


def test_a_default_moves_into_the_description() -> None:
    schema = Sent.model_json_schema()
    assert schema["properties"]["kindOfNote"] == {
        "type": "string",
        "description": "What it is. Default: `plain`.",
    }
    assert schema["properties"]["isUrgent"] == {"type": "boolean", "description": "Default: `false`."}
    assert "required" not in schema
    assert schema["additionalProperties"] is False


def test_a_null_of_an_example_survives_what_removes_nulls() -> None:
    example: dict[str, Any] = {"a": None, "b": [{"c": None}, None], "d": "text", "e": 0}
    assert None not in hide_nulls(example).values()
    assert show_nulls(hide_nulls(example)) == example
    assert show_nulls(Sent.model_json_schema())["example"] == {"kindOfNote": "plain", "author": None}


def test_a_page_has_data_and_a_cursor_that_may_be_null() -> None:
    class Parts(Page[Inner]):
        """Parts."""

    schema = Parts.model_json_schema(mode="serialization")
    assert schema["required"] == ["data", "nextCursor"]
    assert schema["properties"]["nextCursor"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert Parts(data=[], next_cursor=None).model_dump(by_alias=True) == {"data": [], "nextCursor": None}
