"""GET /v1/me: what an API key is, may do, and has to keep to."""

from fastapi import APIRouter
from pydantic import Field

from app import __version__
from app.api.auth import Administrator, CurrentKey
from app.api.dependencies import CurrentServices, Services
from app.api.middleware.request_limits import LARGEST_BODY_BYTES
from app.api.problems import problem_responses
from app.api.schemas import Instant, Page
from app.api.usage.bucket import quota_of
from app.api.usage.recent import KeyRef, last_requests
from app.calls.accounts import resolve
from app.calls.attachments.batch.inputs import MOST_ITEMS
from app.calls.feed.parameters import LONGEST_WAIT_SECONDS, MOST_CHANGES
from app.calls.listing.filters import MOST_CALLS
from app.calls.regions import load_region
from app.ids import UNBOUND_ACCOUNT
from app.ops.accounts.router import AccountQuery, KeyIdPath, chosen_account
from app.ops.schemas import ResponseModel

router = APIRouter(prefix="/v1", tags=["your key"])


class MyKey(ResponseModel):
    """The API key of the request."""

    key_id: str = Field(examples=["key_01kdv6x3q8m7a2c5e9r4t1y6wz"])
    name: str = Field(examples=["hubspot"])
    scopes: list[str] = Field(examples=[["calls:read", "notes:write"]])
    origins: list[str] = Field(
        description="The web origins from which browsers may use it.", examples=[["https://crm.example.com"]]
    )


class MyAccount(ResponseModel):
    """The account whose calls the key shows."""

    account_id: str | None = Field(
        description="RingCentral's id; null while the service's own account is not known yet.",
        examples=["908070001"],
    )
    home_country: str | None = Field(
        description="Where numbers without a country code are read (ISO 3166-1); null while it is not known.",
        examples=["US"],
    )


class Limits(ResponseModel):
    """What requests have to keep to."""

    calls_per_page: int = Field(examples=[MOST_CALLS])
    changes_per_page: int = Field(examples=[MOST_CHANGES])
    wait_seconds: int = Field(description="The longest `wait`.", examples=[LONGEST_WAIT_SECONDS])
    body_bytes: int = Field(examples=[LARGEST_BODY_BYTES])
    items_per_batch: int = Field(examples=[MOST_ITEMS])
    requests_per_minute: int | None = Field(
        description="To one process, on average; null: no limit.", examples=[6000]
    )
    requests_at_once: int | None = Field(description="After a pause; null: no limit.", examples=[1000])


class Me(ResponseModel):
    """A key, its account and its limits."""

    key: MyKey
    account: MyAccount
    limits: Limits
    service_version: str = Field(examples=[__version__])


class LoggedRequest(ResponseModel):
    """One request of a key. Neither its body nor its query is kept."""

    at: Instant
    method: str = Field(examples=["PUT"])
    route: str | None = Field(
        description="The template of its path; null for an unknown path.",
        examples=["/v1/calls/{call}/links/{crm}"],
    )
    status: int | None = Field(description="Null if the client disconnected first.", examples=[201])
    milliseconds: int = Field(description="How long it took, with the whole response.", examples=[12])
    request_id: str = Field(description="Its `X-Request-Id`.", examples=["5f3a9c0d1e2b4a68"])


class LoggedRequests(Page[LoggedRequest]):
    """The last requests of a key, newest first, on one page."""


@router.get("/me/requests", summary="Your last requests", responses=problem_responses())
async def list_my_requests(services: CurrentServices, key: CurrentKey) -> LoggedRequests:
    """The last 200 requests of the key, newest first, kept for two days at most. Those that another process
    answered appear within seconds."""
    return await _last_requests(services, (key.owner, key.key_id))


@router.get(
    "/api-keys/{keyId}/requests", summary="The last requests of an API key", responses=problem_responses(404)
)
async def list_requests_of_key(
    key_id: KeyIdPath, services: CurrentServices, key: Administrator, account_id: AccountQuery = None
) -> LoggedRequests:
    """As `GET /v1/me/requests` shows them to the key itself. Keys that do not exist have none."""
    return await _last_requests(services, (chosen_account(key, account_id), key_id))


async def _last_requests(services: Services, ref: KeyRef) -> LoggedRequests:
    async with services.database.read() as db:
        found = await last_requests(db, services.recent_requests, ref)
    return LoggedRequests(data=[LoggedRequest.model_validate(one) for one in found], next_cursor=None)


@router.get("/me", summary="Who you are", responses=problem_responses())
async def get_me(services: CurrentServices, key: CurrentKey) -> Me:
    """The key of the request, the account that it belongs to, and the limits of requests. Any key may ask: it
    is the way to test a key."""
    async with services.database.read() as db:
        # `~` may have become an account since the key was looked up.
        account_id = await resolve(db, key.account_id)
        country = await load_region(db, account_id)
    settings, own = services.settings, key.requests_per_minute
    per_minute = settings.key_requests_per_minute if own is None else own
    quota = quota_of(per_minute, settings.key_burst_seconds)
    return Me(
        key=MyKey(key_id=key.key_id, name=key.name, scopes=sorted(key.scopes), origins=sorted(key.origins)),
        account=MyAccount(
            account_id=None if account_id == UNBOUND_ACCOUNT else account_id, home_country=country
        ),
        limits=Limits(
            calls_per_page=MOST_CALLS,
            changes_per_page=MOST_CHANGES,
            wait_seconds=LONGEST_WAIT_SECONDS,
            body_bytes=LARGEST_BODY_BYTES,
            items_per_batch=MOST_ITEMS,
            requests_per_minute=per_minute or None,
            requests_at_once=quota and quota.requests,
        ),
        service_version=__version__,
    )
