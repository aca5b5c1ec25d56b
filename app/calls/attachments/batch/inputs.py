"""The body of a request that attaches many things. Each item is validated alone, so a bad one fails alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import (
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from app.api.problems import MOST_ERRORS
from app.api.problems.messages import describe_error, describe_unknown
from app.api.problems.responses import field_error
from app.api.schemas import ApiInput
from app.calls.attachments.fields import SourceName
from app.calls.attachments.inputs import DispositionIn, LinkIn, NoteIn, SentimentIn, stored_note
from app.calls.names import NAME_PATTERN
from app.ids import MAX_OUTSIDE_ID

MOST_ITEMS = 200
KINDS = ("note", "sentiment", "disposition", "link")


_CallName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_OUTSIDE_ID, pattern=NAME_PATTERN)]


class SentimentOfSource(SentimentIn):
    """A sentiment, with its source."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "acme-ai", "label": "positive"}]})

    source: SourceName


class LinkOfCrm(LinkIn):
    """Links to the objects of a CRM."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"crm": "hubspot", "objects": [{"type": "call", "id": "88217"}]}]}
    )

    crm: SourceName


class AttachmentIn(ApiInput):
    """One thing to attach: exactly one of `note`, `sentiment`, `disposition` and `link`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"call": "1229016182016", "note": {"text": "Call back on Friday."}}]}
    )

    call: _CallName = Field(
        description="Any name of the call, known or not: our id, its `telephonySessionId` or `sessionId`.",
        examples=["1229016182016"],
    )
    note: NoteIn | None = None
    sentiment: SentimentOfSource | None = None
    disposition: DispositionIn | None = None
    link: LinkOfCrm | None = None

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        if len([kind for kind in KINDS if getattr(self, kind) is not None]) != 1:
            raise ValueError(f"Send exactly one of {', '.join(KINDS)}")
        return self

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


def _leave(item: Any, _: ValidatorFunctionWrapHandler) -> Any:
    """Leave an item as it was sent: each is read alone, by `read_item`."""
    return item


class AttachmentsIn(ApiInput):
    """What to attach."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "call": "1229016182016",
                            "note": {
                                "text": "Dana wants an offer.",
                                "source": "hubspot",
                                "externalId": "engagement-55120",
                            },
                        },
                        {"call": "1229016182016", "sentiment": {"source": "acme-ai", "score": 0.62}},
                        {"call": "1229016182016", "disposition": {"code": "callback"}},
                        {
                            "call": "1229016182016",
                            "link": {"crm": "hubspot", "objects": [{"type": "call", "id": "88217"}]},
                        },
                    ]
                }
            ]
        }
    )

    items: list[Annotated[AttachmentIn, WrapValidator(_leave)]] = Field(min_length=1, max_length=MOST_ITEMS)


@dataclass(frozen=True, slots=True)
class InvalidItem(Exception):
    """An item that cannot be read. `errors`: as the problem `invalid-request` has them."""

    errors: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class ReadItem:
    """An item that was read. `note`: the columns of a note."""

    item: AttachmentIn
    note: Mapping[str, Any] | None = None


async def read_item(index: int, raw: Any) -> ReadItem:
    """Read one item. Call it outside of transactions.

    Raises InvalidItem, whose pointers lead from the root of the body, and Unprocessable.
    """
    try:
        item = AttachmentIn.model_validate(raw)
    except ValidationError as error:
        found = error.errors(include_url=False)[:MOST_ERRORS]
        raise InvalidItem(tuple(_error(index, one) for one in found)) from error
    return ReadItem(item, None if item.note is None else await stored_note(item.note))


def _error(index: int, error: Mapping[str, Any]) -> dict[str, str]:
    path = error["loc"]
    place = ("body", "items", index, *path)
    if error["type"] == "extra_forbidden" and len(path) == 1:
        return field_error(place, describe_unknown("field", str(path[0]), ("call", *KINDS)))
    return field_error(place, describe_error({**error, "loc": place}))
