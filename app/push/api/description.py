"""The messages in the API description: its section `webhooks`, one entry for each type."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field, create_model

from app.api.schemas import ApiModel, Instant
from app.calls.feed.catalogue import CHANGE_TYPES
from app.calls.feed.schemas import CHANGE_MODELS, Change
from app.calls.schemas import CallOut
from app.push.payloads.examples import example_change
from app.push.payloads.rendering import COMPLETE
from app.values.times import time_text

_AT = datetime.fromisoformat("2026-03-10T18:09:22.951Z")
_CURSOR = "4711-9f8e7d6c5b4a"

_NOT_CALLED = {"x-internal": True}
"""A client never sends these requests, it gets them. openapi-generator 7.26 would make methods of them in
place of those for endpoints, that do not compile; with this it makes their models alone."""


class WebhookData(ApiModel):
    """What every message has."""

    call: CallOut | None = Field(
        None,
        description="The call as it was when the message was sent, for endpoints with the payload `call`.",
    )
    call_omitted: Literal["too-large", "removed"] | None = Field(
        None, description="Why a message of such an endpoint has no call: read it by `change.callId`."
    )
    test: bool | None = Field(None, description="True for a test message, whose call does not exist.")


class AnyChange(Change):
    """A change of any type."""


def _message_of(name: str, when: str, change: type[Change]) -> type[ApiModel]:
    title = name.title().replace(".", "")
    example: Any = {
        "type": name,
        "timestamp": time_text(_AT),
        "data": {"change": example_change(name, _CURSOR, _AT)},
    }
    more: Any = {"change": (change, Field(description="The change, as `GET /v1/changes` returns it."))}
    if name == COMPLETE:
        example["data"]["missing"] = []
        missing = Field(description="The parts that were still pending after the longest wait.")
        more["missing"] = (list[str], missing)
    data = create_model(f"{title}WebhookData", __base__=WebhookData, **more)
    fields: Any = {
        "type": (Literal[name], ...),
        "timestamp": (Instant, Field(description="When the change was committed.")),
        "data": (data, ...),
    }
    made = create_model(f"{title}Webhook", __base__=ApiModel, __doc__=f"When: {when}.", **fields)
    made.model_config["json_schema_extra"] = {"example": example}
    made.model_rebuild(force=True)
    return made


def _describe(router: APIRouter, name: str, when: str, model: type[ApiModel]) -> None:
    async def receive() -> None:
        pass

    receive.__doc__ = (
        "A message to your endpoint, with the headers `webhook-id`, `webhook-timestamp` and "
        "`webhook-signature` of Standard Webhooks 1.0. Answer with any 2xx within 15 seconds."
    )
    router.post(
        name,
        summary=f"When {when}",
        operation_id=f"receive_{name.replace('.', '_')}",
        response_model=model,
        responses={"default": {"description": "Sent again later. 410 disables the endpoint."}},
        tags=["webhook endpoints"],
        openapi_extra=_NOT_CALLED,
    )(receive)


def webhooks_of_the_description() -> APIRouter:
    """Return the routes for `FastAPI.webhooks`: they describe and serve nothing.

    They have the messages as their responses, as all that we send has; `turn_into_requests` follows.
    """
    router = APIRouter()
    for one in CHANGE_TYPES:
        _describe(router, one.name, one.when, _message_of(one.name, one.when, CHANGE_MODELS[one.name]))
    when = "a call is complete, for endpoints that receive each call once"
    _describe(router, COMPLETE, when, _message_of(COMPLETE, when, AnyChange))
    return router


def turn_into_requests(description: dict[str, Any]) -> None:
    """Make the messages the bodies of requests.

    As such from the beginning, FastAPI would describe each of their models twice.
    """
    for operations in description.get("webhooks", {}).values():
        for operation in operations.values():
            message = operation["responses"].pop("200")
            operation["requestBody"] = {"required": True, "content": message["content"]}
            operation["security"] = []  # the signature is what makes it genuine
            operation["responses"] = {"204": {"description": "Received."}, **operation["responses"]}
