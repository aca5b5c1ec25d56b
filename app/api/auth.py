"""Authentication by API key: its scopes and its account."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from structlog.contextvars import bind_contextvars

from app.api.dependencies import CurrentServices, Services
from app.api.known_keys import Key as Key
from app.api.known_keys import Scope
from app.api.usage.origins import may_use
from app.api.usage.use import use_of
from app.errors import Forbidden, OriginRefused, TooManyRequests, Unauthenticated

_LONGEST_KEY = 512

_bearer = HTTPBearer(auto_error=False, scheme_name="apiKey", description="An API key, `ak_…`.")


async def current_key(
    request: Request,
    services: CurrentServices,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Key:
    """The API key of this request, which counts for its limit.

    Raises Unauthenticated if it is missing or not valid, OriginRefused and TooManyRequests.
    """
    if credentials is None or not credentials.credentials:
        raise Unauthenticated("Send `Authorization: Bearer <API key>`")
    plain = credentials.credentials
    if len(plain) <= _LONGEST_KEY:
        key = await services.known_keys.find(plain)
        if key is not None:
            bind_contextvars(key_id=key.key_id, account_id=key.account_id)
            _count(request, services, key)
            return key
    raise Unauthenticated("This API key does not exist or was revoked")


def _count(request: Request, services: Services, key: Key) -> None:
    """Count a request of a key, once. Raises OriginRefused and TooManyRequests."""
    use = use_of(request.scope)
    if use.key_id is not None:
        return
    use.owner, use.key_id = key.owner, key.key_id
    use.verdict = services.key_limits.count(key.owner, key.key_id, key.requests_per_minute)
    origin = request.headers.get("origin")
    if not may_use(origin, request.headers.get("host", ""), key.origins):
        raise OriginRefused(f"This API key does not name the origin {origin}")
    if use.verdict is not None and not use.verdict.admitted:
        seconds = use.verdict.retry_seconds
        raise TooManyRequests(
            f"This API key may send {use.verdict.quota.requests} requests at once, and as many again within "
            f"{use.verdict.quota.seconds:g} seconds. Repeat the request in {seconds} s.",
            retryAfterSeconds=seconds,
        )


CurrentKey = Annotated[Key, Depends(current_key)]


def remembered_key(request: Request, services: Services) -> Key | None:
    """Return the key of a request if it was used a moment ago, and count the request; None says nothing.

    Raises OriginRefused and TooManyRequests.
    """
    plain = _plain_key(request)
    key = None if plain is None else services.known_keys.remembered(plain)
    return _counted(request, services, key)


async def find_key_of(request: Request, services: Services) -> Key | None:
    """Return the key of a request, as `remembered_key` does, or look it up; None says nothing."""
    plain = _plain_key(request)
    key = None if plain is None else await services.known_keys.find(plain)
    return _counted(request, services, key)


def _plain_key(request: Request) -> str | None:
    scheme, _, plain = request.headers.get("Authorization", "").partition(" ")
    return plain if scheme == "Bearer" and 0 < len(plain) <= _LONGEST_KEY else None


def _counted(request: Request, services: Services, key: Key | None) -> Key | None:
    if key is not None:
        bind_contextvars(key_id=key.key_id, account_id=key.account_id)
        _count(request, services, key)
    return key


async def check_still_valid(services: Services, key: Key | None) -> None:
    """Raises Unauthenticated if a watched key was revoked; for streams and other long responses."""
    if key is not None and await services.revocations.is_revoked(key.ref):
        raise Unauthenticated("This API key was revoked")


def watch(services: Services, key: Key | None) -> AbstractContextManager[None]:
    """Watch for the revocation of a key while a response to it is being sent."""
    return nullcontext() if key is None else services.revocations.watch(key.ref)


def require(scope: Scope) -> Callable[[Key], Awaitable[Key]]:
    """Return a dependency that provides the key of this request; it raises Forbidden without `scope`."""

    async def check(key: CurrentKey) -> Key:
        if not key.allows(scope):
            raise Forbidden(f"This API key does not have the scope {scope}", requiredScope=scope)
        return key

    return check


CallsReader = Annotated[Key, Depends(require(Scope.CALLS_READ))]


NotesWriter = Annotated[Key, Depends(require(Scope.NOTES_WRITE))]


WebhooksWriter = Annotated[Key, Depends(require(Scope.WEBHOOKS_WRITE))]


Administrator = Annotated[Key, Depends(require(Scope.ADMIN))]
