"""Requests and responses about erasures and legal holds."""

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from app.api.schemas import ApiInput, ExtensionIdText, Instant, Page
from app.calls.attachments.fields import ShortText
from app.calls.names import Name
from app.erasure.model import Erasure, Status, SubjectKind
from app.ops.schemas import ResponseModel

_FIELDS = tuple(SubjectKind)
_ERASURE = "erasure_01kdv6x3q8m7a2c5e9r4t1y6wz"
_COUNTS: dict[str, Any] = {"calls": 3, "callRecords": 5, "notes": 2, "deliveries": 31}


class SubjectIn(ApiInput):
    """Who or what is erased: exactly one of the three."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"phoneNumber": "+15550179001"}, {"call": "1229016182016"}],
            # A field that is null was not sent.
            "oneOf": [
                {"required": [name.value], "properties": {name.value: {"type": "string"}}} for name in _FIELDS
            ],
        }
    )

    phone_number: ShortText | None = Field(
        None, description="A complete number, in any spelling that is read in the account's country."
    )
    extension_id: ExtensionIdText | None = Field(None, description="RingCentral's id of an extension.")
    call: Name | None = Field(
        None, description="Any name of a call: our id, its `telephonySessionId`, or its `sessionId`."
    )

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if len(self._given) != 1:
            raise ValueError("Send exactly one of `phoneNumber`, `extensionId` and `call`")
        return self

    @property
    def _given(self) -> list[tuple[SubjectKind, str]]:
        values = (self.phone_number, self.extension_id, self.call)
        return [(kind, value) for kind, value in zip(_FIELDS, values, strict=True) if value is not None]

    @property
    def kind(self) -> SubjectKind:
        return self._given[0][0]

    @property
    def written(self) -> str:
        return self._given[0][1]


class RunIn(ApiInput):
    """How to carry out a plan."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"spareHeld": False}]})

    spare_held: bool = Field(
        False,
        strict=True,
        description="Erase the rest when calls are under legal hold. Otherwise nothing is erased then.",
    )


class HoldIn(ApiInput):
    """Why a call has to be kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Case 2026-114"}]})

    reason: ShortText | None = Field(None, description="Shown to operators; not part of the call.")


class OrderView(ResponseModel):
    """Who ordered it."""

    kind: Literal["apiKey", "command"]
    key_id: str | None = Field(None, examples=["key_01kdv6x3q8m7a2c5e9r4t1y6wz"])
    name: str | None = Field(None, description="Of the API key.", examples=["privacy desk"])


class ErasureView(ResponseModel):
    """An erasure, without whom it is about."""

    id: str = Field(examples=[_ERASURE])
    account_id: str = Field(examples=["908070001"])
    kind: SubjectKind
    status: Status = Field(
        description="planned: only counted, and deleted after a day; running: continues by itself, also "
        "after a restart; done: see its receipt."
    )
    planned: dict[str, int] = Field(
        description="What was counted before, by kind. Mentions in other data are found while it runs.",
        examples=[_COUNTS],
    )
    erased: dict[str, int] = Field(description="What was erased so far, by kind.", examples=[_COUNTS])
    held_calls: int = Field(description="Calls under legal hold, which are not erased.")
    ordered_by: OrderView
    planned_at: Instant
    started_at: Instant | None
    completed_at: Instant | None
    problem: str | None = Field(description="Why it does not progress. It is tried again by itself.")


class ErasureList(Page[ErasureView]):
    """Erasures, newest first."""


class Receipt(ResponseModel):
    """The proof that an erasure was carried out. It does not name whom it was about."""

    id: str = Field(examples=[_ERASURE])
    account_id: str = Field(examples=["908070001"])
    kind: SubjectKind
    subject_hash: str = Field(
        description="HMAC-SHA256 of the subject under a key derived from AFTERCALL_SECRET_KEY. The same "
        "subject has the same hash.",
        examples=["5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"],
    )
    erased: dict[str, int] = Field(description="How many rows and files, by kind.", examples=[_COUNTS])
    held_calls: int = Field(description="Calls under legal hold, which were not erased.")
    complete: bool = Field(description="Whether a count at the end found nothing, held calls included.")
    ordered_by: OrderView
    started_at: Instant
    completed_at: Instant


class Verification(ResponseModel):
    """Whether an erasure was about a subject."""

    matches: bool = Field(examples=[True])


class HoldView(ResponseModel):
    """A legal hold of a call."""

    call_id: str = Field(examples=["call_01jp0v7s4v8x2m6c9q3t5r7w1e"])
    reason: str | None = Field(examples=["Case 2026-114"])
    placed_at: Instant
    placed_by: OrderView


class HoldList(Page[HoldView]):
    """Legal holds, by call."""


def view_of(erasure: Erasure) -> ErasureView:
    """Return an erasure as the API shows it."""
    return ErasureView(
        id=erasure.erasure_id,
        account_id=erasure.account_id,
        kind=SubjectKind(erasure.kind),
        status=Status(erasure.status),
        planned=erasure.planned,
        erased=erasure.erased,
        held_calls=erasure.held,
        ordered_by=OrderView.model_validate(erasure.ordered_by),
        planned_at=erasure.planned_at,
        started_at=erasure.started_at,
        completed_at=erasure.completed_at,
        problem=erasure.problem,
    )


def receipt_of(erasure: Erasure) -> Receipt | None:
    """Return the receipt of an erasure; None until it is done."""
    if erasure.started_at is None or erasure.completed_at is None:
        return None
    return Receipt(
        id=erasure.erasure_id,
        account_id=erasure.account_id,
        kind=SubjectKind(erasure.kind),
        subject_hash=erasure.subject_hash,
        erased=erasure.erased,
        held_calls=erasure.held,
        complete=erasure.held == 0,
        ordered_by=OrderView.model_validate(erasure.ordered_by),
        started_at=erasure.started_at,
        completed_at=erasure.completed_at,
    )
