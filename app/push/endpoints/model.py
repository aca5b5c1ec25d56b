"""An endpoint as a value: what it wants, how it is sent, and why it is not. No I/O."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from app.api.schemas import ApiModel, Whole
from app.calls.model import Stage
from app.ids import AccountId

MOST_AT_ONCE = 50
LEAST_PER_SECOND, MOST_PER_SECOND = 0.1, 1_000.0
LONGEST_WAIT_SECONDS = 7 * 86_400

Part = Literal["record", "legs", "recording", "voicemail", "insights"]
"""A part of a call whose readiness the API shows."""


class Payload(StrEnum):
    """What a message has. `CALL` includes what people said and wrote."""

    THIN = "thin"
    CALL = "call"


class Deliver(StrEnum):
    """How many of the changes of one call are sent."""

    EACH = "each"
    LATEST = "latest"
    ONCE = "onceWhenComplete"


class DisabledReason(StrEnum):
    """Why nothing is sent to an endpoint."""

    PAUSED = "paused"
    GONE = "gone"
    FAILING = "failing"


AtOnce = Annotated[int, Whole(1, MOST_AT_ONCE)]
"""The most requests at the same time."""

WaitSeconds = Annotated[int, Whole(0, LONGEST_WAIT_SECONDS)]
"""The longest wait for a call to become complete."""


class _Rule(ApiModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Filters(_Rule):
    """Which calls are wanted; all filters must match. The change `call.erased` is always sent."""

    stage: list[Stage] = Field(
        [],
        max_length=6,
        description="The stage of the call after the change is one of these. Empty: any.",
        examples=[["final"]],
    )
    internal: bool | None = Field(
        None,
        strict=True,
        description="`true`: only calls in which everybody belongs to the company. `false`: without these; "
        "a call of which it is not known yet is sent.",
    )
    main: bool | None = Field(
        None,
        strict=True,
        description="Whether the call is the main one of its conversation, as in the list of calls.",
    )
    direction: Literal["Inbound", "Outbound"] | None = Field(
        None, description="From the view of the company.", examples=["Inbound"]
    )


class Completeness(_Rule):
    """When a call is complete, for `onceWhenComplete`."""

    parts: list[Part] = Field(
        ["record"],
        min_length=1,
        max_length=5,
        description="The parts that must not be pending any more.",
        examples=[["record", "recording"]],
    )
    longest_wait_seconds: WaitSeconds = Field(
        3600,
        description="How long after its end a call is sent although a part is pending; `data.missing` names "
        "the part.",
    )


class Rules(_Rule):
    """What an endpoint receives, and how fast."""

    types: list[Annotated[str, Field(min_length=1, max_length=48)]] = Field(
        ["*"],
        min_length=1,
        max_length=50,
        description="The types of changes to send: a type, a word and `.*`, or `*`. `onceWhenComplete` does "
        "not regard them.",
        examples=[["call.*", "recording.ready"]],
    )
    filters: Filters = Filters()
    payload: Payload = Field(
        Payload.THIN,
        description="`thin`: ids and figures, nothing personal. `call`: with the whole call, if the message "
        "then has less than 20 kB; the API key needs `calls:read`.",
    )
    deliver: Deliver = Field(
        Deliver.EACH,
        description="`each`: every change, those of a call in order. `latest`: a change replaces those of "
        "the same call that are still to be sent. `onceWhenComplete`: one message for each call, "
        "`call.complete`.",
    )
    exclude: Literal["own"] | None = Field(
        None,
        description="`own`: without the changes that were made with the API key that created the endpoint. "
        "`call.erased` is sent all the same; `onceWhenComplete` does not regard it.",
    )
    complete: Completeness = Completeness()
    at_once: AtOnce = Field(10, description="The most requests at the same time.")
    per_second: float | None = Field(
        None,
        strict=True,
        ge=LEAST_PER_SECOND,
        le=MOST_PER_SECOND,
        description="The most requests that begin in a second. Null: any.",
    )


@dataclass(frozen=True, slots=True)
class EndpointKey:
    """Which endpoint of which account."""

    account_id: AccountId
    endpoint_id: str

    def __str__(self) -> str:
        return f"{self.account_id}/{self.endpoint_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How an endpoint is doing. `failures`: attempts that failed in a row, since `failing_since`."""

    failures: int = 0
    failing_since: datetime | None = None
    last_success_at: datetime | None = None
    held_until: datetime | None = None
    disabled_at: datetime | None = None
    disabled_reason: DisabledReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as it is stored, without its secrets.

    `created_by`: the API key that created it. `position`: the number of the last change that was sent or is
    waiting to be. `recovery`: the range of changes that is being sent again, after the first number up to the
    second, and whether also those that were delivered.
    """

    key: EndpointKey
    url: str
    rules: Rules
    position: int
    condition: Condition
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    created_by: str | None = None
    recovery: tuple[int, int, bool] | None = None
