"""Authentication by API key: its scopes and its account."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from structlog.contextvars import bind_contextvars

from app.api.dependencies import CurrentServices, Services
from app.api.known_keys import Key as Key
from app.api.known_keys import Scope
from app.errors import Forbidden, Unauthenticated

_LONGEST_KEY = 512

_bearer = HTTPBearer(auto_error=False, scheme_name="apiKey", description="An API key, `ak_…`.")


async def current_key(
    services: CurrentServices,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Key:
    """The API key of this request.

    Raises Unauthenticated if it is missing or not valid.
    """
    if credentials is None or not credentials.credentials:
        raise Unauthenticated("Send `Authorization: Bearer <API key>`")
    plain = credentials.credentials
    if len(plain) <= _LONGEST_KEY:
        key = await services.known_keys.find(plain)
        if key is not None:
            bind_contextvars(key_id=key.key_id, account_id=key.account_id)
            return key
    raise Unauthenticated("This API key does not exist or was revoked")


CurrentKey = Annotated[Key, Depends(current_key)]


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


Administrator = Annotated[Key, Depends(require(Scope.ADMIN))]
