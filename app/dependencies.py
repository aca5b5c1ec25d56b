"""What a route may ask for: the services of this process, and the API key that asks; what all routes of the connector
API refuse; and a fast way to answer.

async def route(services: CurrentServices, key: Annotated[Key, Depends(require(Scope.NOTES_WRITE))])
"""

import asyncio
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, get_args, get_origin

from fastapi import Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, JsonValue
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.contextvars import bind_contextvars

from app.clock import Clock
from app.db.engine import Database
from app.db.tables import accounts, api_keys
from app.errors import Forbidden, Unauthenticated, UnsupportedMediaType
from app.exact_json import Fault, find_faults, write_json
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.revocations import KeyRef, Revocations
from app.settings import Settings
from app.wording import unknown
from app.work.wakeups import Wakeups

_LONGEST_KEY = 512
_LONGEST_TYPE = 64
_MOST_NAMED = 10
"""At most this many faults of a request are named here; `app.problems` has the limit for those of the schema."""

_LIST_HEADERS = frozenset({"if-match", "if-none-match"})
"""Headers that are lists: several lines of them mean the same as one line with commas (RFC 9110, section 5.3)."""


@dataclass(frozen=True, slots=True)
class Services:
    """What a process has opened; `app.state.services`.

    `stopping` is set when the process begins to shut down: long polls and streams end then.
    """

    settings: Settings
    database: Database
    wakeups: Wakeups
    clock: Clock
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    revocations: Revocations = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "revocations", Revocations(self.database, self.wakeups, self.clock))


class Scope(StrEnum):
    """What an API key may do. `admin` may do everything."""

    CALLS_READ = "calls:read"
    NOTES_WRITE = "notes:write"
    ADMIN = "admin"


ALL_SCOPES = tuple(Scope)
CONNECTOR_SCOPES = (Scope.CALLS_READ, Scope.NOTES_WRITE)
"""What a new key may do unless somebody says otherwise: administration has to be asked for."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key that was shown to us.

    `owner` is the account that the key was made for, `~` included; `account_id` is what that meant when the
    request came. Whoever waits or writes asks anew with `accounts.resolve(db, key.owner)`, in the transaction
    that matters: `~` may be bound at any moment.
    """

    key_id: str
    name: str
    owner: AccountId
    account_id: AccountId
    scopes: frozenset[str]
    digest: str = field(default="", repr=False)

    @property
    def ref(self) -> KeyRef:
        return KeyRef(self.owner, self.key_id, self.digest)

    def allows(self, scope: str) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


def key_digest(plain: str) -> str:
    """Return what we store of a key. Keys are 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(plain.encode()).hexdigest()


async def find_key(db: AsyncConnection, plain: str) -> Key | None:
    """Return the key, None when it was never made or is revoked."""
    digest = key_digest(plain)
    own = and_(accounts.c.account_id == api_keys.c.account_id, accounts.c.account_id == UNBOUND_ACCOUNT)
    query = (
        select(api_keys, accounts.c.bound_to)
        .select_from(api_keys.outerjoin(accounts, own))
        .where(api_keys.c.digest == digest, api_keys.c.revoked_at.is_(None))
        .limit(1)
    )
    row = (await db.execute(query)).first()
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    return Key(
        key_id=row.key_id,
        name=row.name,
        owner=AccountId(row.account_id),
        account_id=AccountId(row.bound_to or row.account_id),
        scopes=frozenset(row.scopes),
        digest=digest,
    )


async def current_services(request: Request) -> Services:
    """The services that the app was started with."""
    services: Services = request.app.state.services
    return services


CurrentServices = Annotated[Services, Depends(current_services)]

_bearer = HTTPBearer(auto_error=False, scheme_name="apiKey", description="An API key, `ak_…`.")


async def current_key(
    services: CurrentServices,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Key:
    """The API key of this request.

    Raises Unauthenticated when there is none that is valid.
    """
    if credentials is None or not credentials.credentials:
        raise Unauthenticated("Send `Authorization: Bearer <API key>`")
    plain = credentials.credentials
    if len(plain) <= _LONGEST_KEY:
        async with services.database.read() as db:
            key = await find_key(db, plain)
        if key is not None:
            bind_contextvars(key_id=key.key_id, account_id=key.account_id)
            return key
    raise Unauthenticated("This API key is not known here, or it was revoked")


CurrentKey = Annotated[Key, Depends(current_key)]


async def check_still_valid(services: Services, key: Key | None) -> None:
    """Let an answer that goes on for long end soon after its key was revoked; the key has to be watched.

    Raises Unauthenticated.
    """
    if key is not None and await services.revocations.is_revoked(key.ref):
        raise Unauthenticated("This API key was revoked")


def watch(services: Services, key: Key | None) -> AbstractContextManager[None]:
    """Have a key looked after while an answer to it goes on."""
    return nullcontext() if key is None else services.revocations.watch(key.ref)


def require(scope: Scope) -> Callable[[Key], Awaitable[Key]]:
    """Return a dependency that gives the key of this request if it has `scope`.

    Raises Forbidden when it has not.
    """

    async def check(key: CurrentKey) -> Key:
        if not key.allows(scope):
            raise Forbidden(f"This API key lacks the scope {scope}", requiredScope=scope)
        return key

    return check


CallsReader = Annotated[Key, Depends(require(Scope.CALLS_READ))]
NotesWriter = Annotated[Key, Depends(require(Scope.NOTES_WRITE))]
Administrator = Annotated[Key, Depends(require(Scope.ADMIN))]


async def refuse_misunderstandings(request: Request, _: CurrentKey) -> None:
    """Refuse what would be ignored, misread or changed in silence; for every route of the connector API, behind its key.

    Raises RequestValidationError for query parameters that the route does not have or that are given more often than
    it reads them, and for values in the body that cannot be kept as they came; UnsupportedMediaType for a body that is
    not sent as JSON.
    """
    route: APIRoute = request.scope["route"]
    _refuse_parameters(request, route, only_known=True)
    if route.body_field is None or not (body := await request.body()):
        return
    if not _is_json(request):
        came = request.headers.get("content-type", "").partition(";")[0][:_LONGEST_TYPE]
        raise UnsupportedMediaType(
            f"Send the body with `Content-Type: application/json`; it came {f'as {came}' if came else 'without one'}"
        )
    if faults := find_faults(body, _kept_exactly(route), most=_MOST_NAMED):
        raise RequestValidationError([_fault(fault) for fault in faults])


async def refuse_repeated(request: Request) -> None:
    """Refuse a query parameter that is given more often than the route reads it; for routes without a key.

    Raises RequestValidationError.
    """
    _refuse_parameters(request, request.scope["route"], only_known=False)


def _refuse_parameters(request: Request, route: APIRoute, *, only_known: bool) -> None:
    if request.scope["query_string"]:
        known = _parameters(route.dependant)
        given = Counter(name for name, _ in request.query_params.multi_items())
        wrong = [_unknown_parameter(name, known.keys()) for name in given if only_known and name not in known]
        wrong += [
            _repeated_parameter(name)
            for name, times in given.items()
            if times > 1 and known.get(name) is False
        ]
        if wrong:
            raise RequestValidationError(wrong[:_MOST_NAMED])
    for header in _header_fields(route.dependant):
        name = header.alias.replace("_", "-")
        if name.casefold() not in _LIST_HEADERS and len(request.headers.getlist(name)) > 1:
            raise RequestValidationError([_repeated_header(name)])


def _kept_exactly(route: APIRoute) -> set[str]:
    """Return the fields of a route's body that hold free JSON: what is in them comes back as it was sent."""
    model: Any = route.body_field and route.body_field.field_info.annotation
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        return set()
    free: Any = JsonValue
    return {info.alias or name for name, info in model.model_fields.items() if info.annotation is free}


def _parameters(dependant: Dependant) -> dict[str, bool]:
    """Return the query parameters that a route reads, and whether each may be given several times."""
    found = {name: is_list for field in dependant.query_params for name, is_list in _names(field)}
    for part in dependant.dependencies:
        found |= _parameters(part)
    return found


def _header_fields(dependant: Dependant) -> list[Any]:
    return [
        *dependant.header_params,
        *(field for part in dependant.dependencies for field in _header_fields(part)),
    ]


def _names(field: Any) -> list[tuple[str, bool]]:
    model: Any = field.field_info.annotation
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [(info.alias or name, _is_list(info.annotation)) for name, info in model.model_fields.items()]
    return [(field.alias, _is_list(model))]


def _is_list(annotation: Any) -> bool:
    return (
        annotation is list
        or get_origin(annotation) is list
        or any(_is_list(part) for part in get_args(annotation))
    )


def _unknown_parameter(name: str, known: Collection[str]) -> dict[str, Any]:
    return {
        "type": "unknown_parameter",
        "loc": ("query", name),
        "msg": unknown("parameter", name, known),
        "input": None,
    }


def _repeated_parameter(name: str) -> dict[str, Any]:
    return {
        "type": "repeated_parameter",
        "loc": ("query", name),
        "msg": "This parameter can be given once; it came several times",
        "input": None,
    }


def _repeated_header(name: str) -> dict[str, Any]:
    return {
        "type": "repeated_header",
        "loc": ("header", name),
        "msg": "This header can be given once; it came several times",
        "input": None,
    }


def _fault(fault: Fault) -> dict[str, Any]:
    return {"type": "unkeepable", "loc": ("body", *fault.path), "msg": fault.detail, "input": None}


def _is_json(request: Request) -> bool:
    """Whether FastAPI reads the body as JSON; it does so for `application/merge-patch+json` too."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    return re.fullmatch(r"application/(.+\+)?json", media_type) is not None


class JsonAnswer(Response):
    """JSON out of what is JSON already, or nearly (dates, enums): written at once, validated nowhere."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return write_json(content)
