"""The log of an endpoint's attempts, and messages that are sent again."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from app.api.auth import WebhooksWriter
from app.api.dependencies import CurrentServices
from app.api.problems import problem_responses
from app.audit.trail import AuditAction, Trail, audited
from app.calls import accounts
from app.errors import Conflict, Unprocessable
from app.push.api import attempts, messages
from app.push.api.parameters import AttemptPath, EndpointPath, read_moment, resolve_position
from app.push.api.schemas import (
    ATTEMPT_ID_EXAMPLE,
    CURSOR_EXAMPLE,
    AttemptList,
    QueuedMessage,
    RecoverIn,
    RecoveringEndpoint,
    WaitingMessageList,
)
from app.push.api.views import view_endpoint
from app.push.endpoints import store
from app.push.endpoints.model import EndpointKey
from app.push.sending.waiting import begin_anew

router = APIRouter(prefix="/v1/webhook-endpoints/{endpoint}", tags=["webhook endpoints"])


@router.get("/attempts", summary="List attempts of a webhook endpoint", responses=problem_responses(404))
async def list_webhook_attempts(
    endpoint: EndpointPath,
    services: CurrentServices,
    key: WebhooksWriter,
    limit: Annotated[int, Query(ge=1, le=200, description="How many at most.")] = 50,
    cursor: Annotated[
        str | None,
        Query(
            pattern="^att_[0-9a-z]{26}$",
            description="`nextCursor` of the previous page.",
            examples=[ATTEMPT_ID_EXAMPLE],
        ),
    ] = None,
    outcome: Annotated[Literal["delivered", "failed"] | None, Query(description="Only these.")] = None,
    webhook_id: Annotated[
        str | None,
        Query(
            alias="webhookId",
            pattern="^[0-9a-z_-]{1,40}$",
            description="Only attempts to send this message.",
            examples=[CURSOR_EXAMPLE],
        ),
    ] = None,
) -> AttemptList:
    """Each request to the endpoint and its outcome, newest first. Attempts are kept for 30 days, or as the
    operator has set it."""
    async with services.database.read() as db:
        place = EndpointKey(await accounts.resolve(db, key.owner), endpoint)
        await store.load_endpoint(db, place)
        found = await attempts.list_attempts(db, place, limit + 1, cursor, outcome, webhook_id)
    shown = found[:limit]
    return AttemptList(
        data=[attempts.view_attempt(row) for row in shown],
        next_cursor=shown[-1].attempt_id if len(found) > limit else None,
    )


@router.get(
    "/messages", summary="List messages that wait for a webhook endpoint", responses=problem_responses(404)
)
async def list_waiting_webhooks(
    endpoint: EndpointPath,
    services: CurrentServices,
    key: WebhooksWriter,
    limit: Annotated[int, Query(ge=1, le=200, description="How many at most.")] = 50,
    cursor: Annotated[
        str | None,
        Query(
            pattern="^[0-9]{1,18}-(change|complete)$",
            description="`nextCursor` of the previous page.",
            examples=["4711-change"],
        ),
    ] = None,
) -> WaitingMessageList:
    """What is still to be confirmed, in the order of its changes: why each message waits, what the last
    attempt brought, and when the next one is. Changes after `cursor` of the endpoint are not among it yet."""
    async with services.database.read() as db:
        place = EndpointKey(await accounts.resolve(db, key.owner), endpoint)
        found = await store.load_endpoint(db, place)
        return await messages.list_waiting(db, found, limit, cursor, services.clock.now())


@router.post(
    "/attempts/{attempt}/resend",
    status_code=202,
    summary="Send a message again",
    responses=problem_responses(400, 404),
)
async def resend_webhook(
    endpoint: EndpointPath, attempt: AttemptPath, services: CurrentServices, key: WebhooksWriter
) -> QueuedMessage:
    """Send a message at once, whether it was delivered, given up, or waits for a retry. It has the same
    `webhook-id`, and what is stored of the call now."""
    async with services.database.write() as db:
        place = EndpointKey(await accounts.resolve(db, key.owner), endpoint)
        found = await store.load_endpoint(db, place, lock=True)
        return await attempts.resend(db, found, attempt, services.clock.now())


@router.post(
    "/recover",
    status_code=202,
    summary="Send a range of changes again",
    responses=problem_responses(400, 404, 409, 410),
)
async def recover_webhooks(
    endpoint: EndpointPath,
    body: RecoverIn,
    services: CurrentServices,
    trail: Annotated[Trail, audited(AuditAction.ENDPOINT_RECOVERED)],
    key: WebhooksWriter,
) -> RecoveringEndpoint:
    """Send the changes of a range again that the endpoint wants and has not confirmed: at once those that
    wait, such as for a retry, and those that were given up. They are sent beside new ones; `recovery` of the
    endpoint shows how far it is. A disabled endpoint gets them when it is enabled."""
    since = read_moment(body.since, "since")
    async with services.database.write() as db:
        place = EndpointKey(await accounts.resolve(db, key.owner), endpoint)
        found = await store.load_endpoint(db, place, lock=True)
        if found.recovery is not None:
            raise Conflict(
                "A range of changes is being sent again: wait until `recovery` is null. To send what waits "
                "at once, resend one message, send a test message, or disable and enable the endpoint"
            )
        after = await resolve_position(db, place.account_id, since)
        until = found.position
        if body.until is not None:
            until = min(until, await resolve_position(db, place.account_id, read_moment(body.until, "until")))
        if after >= until:
            raise Unprocessable("There are no changes of the endpoint after `since`", parameter="since")
        now = services.clock.now()
        queued = await begin_anew(db, place, now, after, until)
        # It is tried at once, whatever pause it has: the request says that it works again.
        values = {"recover_seq": after, "recover_until": until, "recover_all": body.include == "all"}
        await store.change_endpoint(db, place, **values, held_until=None)
        await trail.record(
            db, now, place.account_id, endpoint, after=after, until=until, include=body.include
        )
        shown = await view_endpoint(db, await store.load_endpoint(db, place))
        return RecoveringEndpoint(**dict(shown), queued=queued)
