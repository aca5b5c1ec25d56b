"""/v1/webhook-endpoints: create, list, read, change and delete endpoints; their secrets; test messages."""

from typing import Annotated, Any

from fastapi import APIRouter, Response

from app.api.auth import WebhooksWriter
from app.api.dependencies import CurrentServices
from app.api.problems import problem_responses
from app.audit.trail import AuditAction, Trail, audited
from app.calls import accounts
from app.errors import BadInput, Conflict, NotFound
from app.ids import new_id
from app.push.api.attempts import test_message, view_attempt
from app.push.api.parameters import (
    FROM_NOW,
    CurrentClient,
    CurrentVault,
    EndpointPath,
    check_rules,
    check_url,
    resolve_position,
)
from app.push.api.schemas import (
    AttemptView,
    CreatedEndpoint,
    EndpointList,
    EndpointPatch,
    EndpointView,
    NewEndpoint,
    NewSecret,
    TestMessage,
)
from app.push.api.views import view_endpoint, view_endpoints
from app.push.endpoints import secrets, store
from app.push.endpoints.model import Condition, DisabledReason, Endpoint, EndpointKey, Rules
from app.push.payloads.examples import NAMES, render_example
from app.push.payloads.signatures import headers_of
from app.push.sending.outcomes import Result, record_test
from app.push.sending.waiting import begin_anew

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["webhook endpoints"])


@router.post(
    "",
    status_code=201,
    summary="Create a webhook endpoint",
    responses=problem_responses(400, 409, 410),
)
async def create_webhook_endpoint(
    new: NewEndpoint,
    services: CurrentServices,
    vault: CurrentVault,
    trail: Annotated[Trail, audited(AuditAction.ENDPOINT_CREATED)],
    key: WebhooksWriter,
) -> CreatedEndpoint:
    """Send changes to an address from now on, or from a position of the feed. The response has the secret
    that signs the messages; it is shown only once."""
    check_url(new.url, services)
    check_rules(new.rules, key)
    now, secret = services.clock.now(), secrets.new_secret()
    async with services.database.write() as db:
        account_id = await accounts.resolve(db, key.owner)
        # Two requests at the same time must not exceed the limit.
        await accounts.lock(db, account_id, now)
        if await store.count_endpoints(db, account_id) >= store.MOST_ENDPOINTS:
            raise Conflict(
                f"An account has at most {store.MOST_ENDPOINTS} webhook endpoints; delete one first"
            )
        endpoint = Endpoint(
            key=EndpointKey(account_id, new_id("whe", now)),
            url=new.url,
            description=new.description,
            rules=new.rules,
            position=await resolve_position(db, account_id, new.cursor),
            condition=Condition(),
            created_at=now,
            updated_at=now,
        )
        await store.insert_endpoint(db, endpoint, secrets.seal(vault, [secret]), key.key_id)
        await trail.record(db, now, account_id, endpoint.key.endpoint_id, payload=new.rules.payload.value)
        shown = await view_endpoint(db, endpoint)
    return CreatedEndpoint(**dict(shown), secret=secret.text)


@router.get("", summary="List webhook endpoints", responses=problem_responses())
async def list_webhook_endpoints(services: CurrentServices, key: WebhooksWriter) -> EndpointList:
    """The endpoints of the account, and how each is doing."""
    async with services.database.read() as db:
        found = await store.list_endpoints(db, await accounts.resolve(db, key.owner))
        return EndpointList(data=await view_endpoints(db, found), next_cursor=None)


@router.get("/{endpoint}", summary="Get a webhook endpoint", responses=problem_responses(404))
async def get_webhook_endpoint(
    endpoint: EndpointPath, services: CurrentServices, key: WebhooksWriter
) -> EndpointView:
    """What the endpoint receives, and how it is doing."""
    async with services.database.read() as db:
        place = EndpointKey(await accounts.resolve(db, key.owner), endpoint)
        return await view_endpoint(db, await store.load_endpoint(db, place))


@router.patch("/{endpoint}", summary="Change a webhook endpoint", responses=problem_responses(400, 404, 410))
async def update_webhook_endpoint(
    endpoint: EndpointPath,
    patch: EndpointPatch,
    services: CurrentServices,
    trail: Annotated[Trail, audited(AuditAction.ENDPOINT_CHANGED)],
    key: WebhooksWriter,
) -> EndpointView:
    """Change what is sent and where, pause the endpoint, or enable it again."""
    if patch.url is not None:
        check_url(patch.url, services)
    now = services.clock.now()
    async with services.database.write() as db:
        place = EndpointKey(await accounts.resolve(db, key.owner), endpoint)
        found = await store.load_endpoint(db, place, lock=True)
        rules = _patched(found.rules, patch)
        check_rules(rules, key)
        values = _columns(found, patch) | {"rules": store.rules_json(rules), "updated_at": now}
        if patch.enabled is False and found.condition.disabled_at is None:
            values |= {"disabled_at": now, "disabled_reason": DisabledReason.PAUSED.value}
        if patch.cursor is not None:
            await store.drop_waiting(db, place, forget_sent=patch.cursor != FROM_NOW)
            values["position_seq"] = await resolve_position(db, place.account_id, patch.cursor)
        elif patch.enabled and found.condition.disabled_at is not None:
            await begin_anew(db, place, now)
        await store.change_endpoint(db, place, **values)
        changed = await store.load_endpoint(db, place)
        names = _changed_names(found, changed, patch)
        await trail.record(
            db, now, place.account_id, endpoint, changed=bool(names), action=_action_of(found, changed),
            fields=names,
        )  # fmt: skip
        return await view_endpoint(db, changed)


def _changed_names(before: Endpoint, after: Endpoint, patch: EndpointPatch) -> list[str]:
    """Return the fields that are different now, without their values: an address may have a secret in it."""
    old, new = store.rules_json(before.rules), store.rules_json(after.rules)  # without what is the default
    names = [name for name in old.keys() | new.keys() if old.get(name) != new.get(name)]
    names += [name for name in ("url", "description") if getattr(before, name) != getattr(after, name)]
    if before.condition.disabled_at != after.condition.disabled_at:
        names.append("enabled")
    if patch.cursor is not None:
        names.append("cursor")
    return sorted(names)


def _action_of(before: Endpoint, after: Endpoint) -> AuditAction | None:
    if (before.condition.disabled_at is None) == (after.condition.disabled_at is None):
        return None
    return (
        AuditAction.ENDPOINT_ENABLED if after.condition.disabled_at is None else AuditAction.ENDPOINT_DISABLED
    )


def _patched(rules: Rules, patch: EndpointPatch) -> Rules:
    """Return the rules with what was sent. Null resets a rule to its default."""
    sent = {name: getattr(patch, name) for name in patch.model_fields_set if name in Rules.model_fields}
    kept = {name: getattr(rules, name) for name in Rules.model_fields if name not in sent}
    return Rules(**kept, **{name: value for name, value in sent.items() if value is not None})


def _columns(found: Endpoint, patch: EndpointPatch) -> dict[str, Any]:
    """Return the columns that a patch changes besides the rules."""
    values: dict[str, Any] = {}
    if patch.url is not None:
        values["url"] = patch.url
    if "description" in patch.model_fields_set:
        values["description"] = patch.description
    if patch.enabled and found.condition.disabled_at is not None:
        # Enabled again, it has five days once more.
        values |= store.condition_row(Condition(last_success_at=found.condition.last_success_at))
    return values


@router.delete(
    "/{endpoint}", status_code=204, summary="Delete a webhook endpoint", responses=problem_responses(404)
)
async def delete_webhook_endpoint(
    endpoint: EndpointPath,
    services: CurrentServices,
    trail: Annotated[Trail, audited(AuditAction.ENDPOINT_DELETED)],
    key: WebhooksWriter,
) -> Response:
    """Send nothing more to it, and forget its secret and its attempts."""
    async with services.database.write() as db:
        place = EndpointKey(await accounts.resolve(db, key.owner), endpoint)
        if not await store.delete_endpoint(db, place):
            raise NotFound(f"There is no webhook endpoint {endpoint}")
        await trail.record(db, services.clock.now(), place.account_id, endpoint)
    return Response(status_code=204)


@router.post(
    "/{endpoint}/secrets",
    status_code=201,
    summary="Rotate the secret of a webhook endpoint",
    responses=problem_responses(404),
)
async def rotate_webhook_secret(
    endpoint: EndpointPath,
    services: CurrentServices,
    vault: CurrentVault,
    trail: Annotated[Trail, audited(AuditAction.ENDPOINT_SECRET_ROTATED)],
    key: WebhooksWriter,
) -> NewSecret:
    """Create a secret that replaces the current one. For 24 hours messages are signed with both, so receivers
    can change in their own time."""
    now, secret = services.clock.now(), secrets.new_secret()
    async with services.database.write() as db:
        place = EndpointKey(await accounts.resolve(db, key.owner), endpoint)
        known = secrets.unseal(vault, await store.load_sealed(db, place, lock=True))
        sealed = secrets.seal(vault, secrets.replaced(known, secret, now))
        await store.change_endpoint(db, place, secrets=sealed, updated_at=now)
        await trail.record(db, now, place.account_id, endpoint)
    return NewSecret(secret=secret.text, previous_until=now + secrets.OVERLAP)


@router.post("/{endpoint}/test", summary="Send a test message", responses=problem_responses(400, 404))
async def test_webhook_endpoint(
    endpoint: EndpointPath,
    message: TestMessage,
    services: CurrentServices,
    vault: CurrentVault,
    client: CurrentClient,
    key: WebhooksWriter,
) -> AttemptView:
    """Send an example of a type at once, also to a disabled endpoint, and return what it answered. The
    message has `data.test: true`, its call does not exist, and it is not sent again. If it is confirmed, that
    ends a failure of the endpoint, and what waits for it is sent."""
    if message.type not in NAMES:
        raise BadInput(f"There are these types: {', '.join(NAMES)}", parameter="type")
    started_at = services.clock.now()
    async with services.database.read() as db:
        place = EndpointKey(await accounts.resolve(db, key.owner), endpoint)
        found = await store.load_endpoint(db, place)
        keys = secrets.keys_at(secrets.unseal(vault, await store.load_sealed(db, place)), started_at)
    sent, started = test_message(place, message.type, started_at), services.clock.monotonic()
    body = render_example(sent.type, sent.message_id, started_at)
    headers = headers_of(keys, sent.message_id, int(started_at.timestamp()), body)
    answer = await client.post(found.url, headers, body)
    result = Result(sent, answer, started_at, services.clock.monotonic() - started)
    async with services.database.write() as db:
        return view_attempt(await record_test(db, result, services.clock.now()))
