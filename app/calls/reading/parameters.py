"""The query parameters that choose what is shown of calls."""

from functools import cache
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints

from app.calls.listing.filters import ListQuery
from app.calls.reading.fields import Chosen, Shape, read_fields, shape_of
from app.calls.reading.included import IN_LISTS, Included
from app.calls.schemas import CallOut, RecordedCall

_LONGEST_FIELDS = 1_000


@cache
def call_shape() -> Shape:
    """Return what can be chosen of a call. Its records have whatever RingCentral's have."""
    return shape_of(CallOut, open_models={RecordedCall}, without={"provenance", "included"})


def choose(fields: str | None) -> Chosen | None:
    """Return what `fields` chooses of a call; None for everything."""
    return None if fields is None else read_fields(fields, call_shape())


def _check(fields: str) -> str:
    read_fields(fields, call_shape())
    return fields


def _split(value: Any) -> Any:
    """Accept names with commas in between, and repeated ones."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [name.strip() for one in value for name in one.split(",")]
    return value


Fields = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=_LONGEST_FIELDS, pattern=r"^[A-Za-z][A-Za-z0-9_]*([., ]+[A-Za-z0-9_]+)*$"
    ),
    AfterValidator(_check),
]
_FIELDS_DESCRIPTION = (
    "The fields to show, with commas in between; those of an object after a dot, of a list for each "
    "item. The response has these and no others, also of fields that are otherwise required."
)
_FIELDS_EXAMPLE = "id,direction,from.phoneNumber,agents.email"
FieldsOfCall = Annotated[Fields | None, Query(description=_FIELDS_DESCRIPTION, examples=[_FIELDS_EXAMPLE])]
IncludedInCall = Annotated[
    list[Included],
    BeforeValidator(_split),
    Query(
        max_length=len(Included),
        description="What to add to a call in `included`, without a second request: `conversation`, "
        "`insights`, `legs`, and `projections.` with a CRM, as it is without parameters. `provenance` is "
        "added beside it: where each field comes from, and whether it may still change. Notes, "
        "sentiments, recordings and the voicemail are part of every call.",
        examples=[["insights", "projections.hubspot"]],
    ),
]
_LISTED: Any = Literal[tuple(sorted(part.value for part in IN_LISTS))]


class ShownParts(BaseModel):
    """What is shown of each call of many."""

    fields: Fields | None = Field(None, description=_FIELDS_DESCRIPTION, examples=[_FIELDS_EXAMPLE])
    include: Annotated[list[_LISTED], BeforeValidator(_split)] = Field(
        [],
        max_length=len(IN_LISTS),
        description="What to add to each call in `included`. A single call can have more.",
        examples=[["insights"]],
    )

    @property
    def parts(self) -> list[Included]:
        """What to include."""
        return [Included(part) for part in self.include]


class ShownListQuery(ListQuery, ShownParts):
    """Filters, order and page, and what is shown of each call."""
