"""Administration: /v1/accounts and /v1/api-keys. For keys with the scope `admin`.

A key of `~`, the service's own account, administers the service: all accounts and keys. A key of any other
account administers only that account.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ConfigDict, Field, SecretStr

from app.accounts.onboarding import Onboarding
from app.accounts.overview import AccountOverview, CredentialStatus, load_overview
from app.accounts.remedies import why_not_stored
from app.api import keys
from app.api.auth import Administrator
from app.api.dependencies import CurrentServices, Services
from app.api.known_keys import ALL_SCOPES, CONNECTOR_SCOPES, Key, Scope
from app.api.problems import problem_responses
from app.api.schemas import ApiInput, Instant, Page, Whole
from app.audit.trail import AuditAction, Trail, audited, differences
from app.calls import accounts
from app.errors import (
    Conflict,
    CredentialsRefused,
    Forbidden,
    NotFound,
    PermissionMissing,
    SettingsError,
    Unprocessable,
)
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.accounts.oauth import CurrentFlow, invitation_address
from app.ops.problems.model import Subject, read_problem
from app.ops.schemas import ResponseModel
from app.vault import Vault

ACCOUNT_PATTERN = r"^(~|[0-9]{1,32})$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
LONGEST_INVITATION_HOURS = 24 * 30

router = APIRouter(prefix="/v1", tags=["administration"])


class AccountProblem(ResponseModel):
    """What a person has to do."""

    code: str = Field(description="RingCentral's code if it gave one, else ours.", examples=["CMN-408"])
    detail: str
    since: Instant | None


class CredentialsView(ResponseModel):
    """One user's credentials, without their secrets."""

    name: str = Field(examples=["ext-711000101"])
    kind: str = Field(
        description="`own`: of the environment; `jwt`: a JWT credential; `oauth`: a person signed in.",
        examples=["oauth"],
    )
    level: str = Field(description="`account`: can see all calls; `extension`: only the user's own.")
    extension_id: str | None = Field(description="Whose calls it can see, at level `extension`.")
    owner_id: str | None = Field(description="The extension that it acts as.", examples=["711000101"])
    scopes: list[str] = Field(description="What the app may do, as RingCentral stated at the sign-in.")
    problems: list[AccountProblem]
    updated_at: Instant | None


class AccountView(ResponseModel):
    """A RingCentral account."""

    account_id: str = Field(
        description="`~` while the service's own account is not known yet.", examples=["908070001"]
    )
    is_own: bool = Field(description="Whether `~` means this account.")
    added_at: Instant | None = Field(description="When credentials were first added for it.")
    problem: AccountProblem | None = Field(description="Why its calls cannot be read.")
    credentials: list[CredentialsView]


class AccountList(Page[AccountView]):
    """Accounts by id, on one page."""


class NewCredentials(ApiInput):
    """A JWT credential. Without a client id it belongs to the app of the environment."""

    jwt: SecretStr = Field(min_length=1, max_length=8192, examples=["eyJraWQiOiI4NzYy…"])
    client_id: str | None = Field(None, min_length=1, max_length=128)
    client_secret: SecretStr | None = Field(None, min_length=1, max_length=512)
    name: str | None = Field(
        None,
        pattern=NAME_PATTERN,
        description="Default: `ext-` and the user's extension id.",
        examples=["backup"],
    )


class NewInvitation(ApiInput):
    """How long the link is valid."""

    hours: float = Field(24.0, strict=True, gt=0, le=LONGEST_INVITATION_HOURS, examples=[24])


class Invitation(ResponseModel):
    """A link. A person who opens it signs in with RingCentral, which connects their account."""

    url: str = Field(examples=["https://calls.example.com/oauth/ringcentral/start?invitation=gAAAAABl…"])
    expires_at: Instant


_ORIGIN = "https://crm.example.com"


class KeyView(ResponseModel):
    """An API key, without the key itself."""

    key_id: str = Field(examples=["key_01kdv6x3q8m7a2c5e9r4t1y6wz"])
    account_id: str = Field(examples=["908070001"])
    name: str = Field(examples=["crm"])
    scopes: list[str] = Field(examples=[["calls:read", "notes:write"]])
    created_at: Instant
    revoked_at: Instant | None
    origins: list[str] = Field(examples=[[_ORIGIN]])
    requests_per_minute: int | None = Field(description="Null: as the settings say; 0: no limit.")


class KeyList(Page[KeyView]):
    """The keys of an account, including revoked ones, oldest first, on one page."""


_ORIGINS = "The web origins from which browsers may use the key. Programs that are no browsers need none."
_LIMIT = "How many requests a minute it may send to one process; 0: no limit. Null: as the settings say."
MOST_PER_MINUTE = 1_000_000


_PerMinute = Annotated[int, Whole(0, MOST_PER_MINUTE)]


class NewKey(ApiInput):
    """Who uses the key, and what it may do."""

    name: str = Field("connector", min_length=1, max_length=128, examples=["crm"])
    scopes: list[Scope] = Field(
        default_factory=lambda: list(CONNECTOR_SCOPES),
        min_length=1,
        max_length=len(ALL_SCOPES),
        examples=[["calls:read", "notes:write"]],
    )
    account_id: str | None = Field(
        None,
        pattern=ACCOUNT_PATTERN,
        description="Default: the account of the key that is used.",
        examples=["~"],
    )

    origins: list[str] = Field([], max_length=keys.MOST_ORIGINS, description=_ORIGINS, examples=[[_ORIGIN]])
    requests_per_minute: _PerMinute | None = Field(None, description=_LIMIT)


class KeyPatch(ApiInput):
    """What is to change; omitted fields keep their values (RFC 7396)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"origins": [_ORIGIN]}]})

    origins: list[str] = Field([], max_length=keys.MOST_ORIGINS, description=f"Replaces all. {_ORIGINS}")
    requests_per_minute: _PerMinute | None = Field(None, description=_LIMIT)

    def changes(self) -> keys.KeyChanges:
        sent = self.model_fields_set
        limit = self.requests_per_minute if self.requests_per_minute is not None else keys.DEFAULT_LIMIT
        return keys.KeyChanges(
            origins=self.origins if "origins" in sent else None,
            requests_per_minute=limit if "requests_per_minute" in sent else None,
        )


class CreatedKey(KeyView):
    """A new key. `key` is returned only once."""

    key: str = Field(examples=["ak_Xo3fV0Jc2uYhQm8s1bTz5wR7nL4kD6gE9aPiC0tUyHq"])


AccountPath = Annotated[
    str, Path(pattern=ACCOUNT_PATTERN, description="RingCentral's account id.", examples=["908070001"])
]
CredentialsPath = Annotated[str, Path(pattern=NAME_PATTERN, examples=["ext-711000101"])]
KeyIdPath = Annotated[
    str, Path(alias="keyId", pattern="^key_[0-9a-z]{1,36}$", examples=["key_01kdv6x3q8m7a2c5e9r4t1y6wz"])
]
AccountQuery = Annotated[
    str | None,
    Query(
        alias="accountId",
        pattern=ACCOUNT_PATTERN,
        description="Default: the account of the key that is used.",
        examples=["908070001"],
    ),
]


def is_operator(key: Key) -> bool:
    """Whether this admin key administers the service, not a single account."""
    return key.owner == UNBOUND_ACCOUNT


def chosen_account(key: Key, account_id: str | None) -> AccountId:
    """Return the account of a request. Raises Forbidden if the key does not administer it."""
    if account_id is None or account_id in (key.owner, key.account_id):
        return key.owner
    if not is_operator(key):
        raise Forbidden("This API key administers only its own account")
    return AccountId(account_id)


@router.get("/accounts", summary="All accounts and what they need", responses=problem_responses())
async def list_accounts(services: CurrentServices, key: Administrator) -> AccountList:
    """List the accounts that this key administers, with their credentials and problems."""
    found = await _load(services, None if is_operator(key) else key.account_id)
    return AccountList(data=[_view(account) for account in found], next_cursor=None)


@router.post(
    "/accounts",
    status_code=201,
    summary="Add an account by a JWT credential",
    responses=problem_responses(400, 502),
)
async def add_account(
    request: Request,
    new: NewCredentials,
    services: CurrentServices,
    trail: Annotated[Trail, audited(AuditAction.CREDENTIALS_ADDED)],
    key: Administrator,
) -> AccountView:
    """Ask RingCentral whose credential this is, and store it, encrypted, in place of the previous one."""
    if not is_operator(key):
        raise Forbidden("Only a key of the service's own account may add accounts")
    onboarding: Onboarding = request.app.state.process.onboarding
    try:
        admitted = await onboarding.by_jwt(
            new.jwt.get_secret_value(),
            client_id=new.client_id,
            client_secret=new.client_secret.get_secret_value() if new.client_secret else None,
            name=new.name,
            by=trail.actor,
        )
    except SettingsError as error:
        raise Unprocessable(f"There is no app for this credential: {error}") from error
    except (CredentialsRefused, PermissionMissing) as error:
        # The fault of what was sent, not of RingCentral: a 422, not a 502.
        raise Unprocessable(
            why_not_stored(error),
            ringCentral={"status": error.status, "code": error.code, "requestId": error.request_id},
        ) from error
    (account,) = await _load(services, admitted.account_id)
    return _view(account)


@router.post(
    "/accounts/invitations",
    status_code=201,
    summary="Invite a person to connect an account",
    responses=problem_responses(400),
)
async def create_invitation(
    request: Request,
    new: NewInvitation,
    services: CurrentServices,
    flow: CurrentFlow,
    trail: Annotated[Trail, audited(AuditAction.INVITATION_CREATED)],
    key: Administrator,
) -> Invitation:
    """Create a link that connects another company's account when its administrator signs in."""
    if not is_operator(key):
        raise Forbidden("Only a key of the service's own account may invite")
    if not services.settings.has_app:
        raise Unprocessable("Set RC_CLIENT_ID and RC_CLIENT_SECRET: there is no app to sign in with")
    lasts, now = timedelta(hours=new.hours), services.clock.now()
    try:
        address = invitation_address(services.settings, request, flow.invite(now, lasts))
    except SettingsError as error:
        raise Unprocessable(str(error)) from error
    # The link is signed and stored nowhere: only this entry tells of it.
    async with services.database.write() as db:
        await trail.record(db, now, key.owner, hours=new.hours)
    return Invitation(url=address, expires_at=now + lasts)


@router.delete(
    "/accounts/{account}/credentials/{name}",
    status_code=204,
    summary="Remove credentials",
    responses=problem_responses(404),
)
async def delete_credentials(
    request: Request,
    account: AccountPath,
    name: CredentialsPath,
    trail: Annotated[Trail, audited(AuditAction.CREDENTIALS_REMOVED)],
    key: Administrator,
) -> Response:
    """Delete credentials and end their session at RingCentral. Calls, notes and records remain."""
    account_id = chosen_account(key, account)
    onboarding: Onboarding = request.app.state.process.onboarding
    # `~` is bound to an account by now, under which the credentials are stored.
    holder = key.account_id if account_id == key.owner else account_id
    if not await onboarding.remove(holder, name, by=trail.actor):
        raise NotFound(f"Account {account} has no stored credentials {name}")
    return Response(status_code=204)


@router.get("/api-keys", summary="API keys", responses=problem_responses(404))
async def list_api_keys(
    services: CurrentServices, key: Administrator, account_id: AccountQuery = None
) -> KeyList:
    """List the keys of an account."""
    owner = chosen_account(key, account_id)
    async with services.database.read() as db:
        found = await keys.list_keys(db, owner)
        if not found and owner != UNBOUND_ACCOUNT and not await accounts.is_known(db, owner):
            raise NotFound(f"There is no account {owner}")
    return KeyList(data=[KeyView.model_validate(info) for info in found], next_cursor=None)


@router.post("/api-keys", status_code=201, summary="Create an API key", responses=problem_responses(400, 404))
async def create_api_key(
    new: NewKey,
    services: CurrentServices,
    trail: Annotated[Trail, audited(AuditAction.KEY_CREATED)],
    key: Administrator,
) -> CreatedKey:
    """Create a key. It is returned only once; the service stores only its digest."""
    owner, now = chosen_account(key, new.account_id), services.clock.now()
    async with services.database.write() as db:
        if owner != UNBOUND_ACCOUNT and not await accounts.is_known(db, owner):
            raise NotFound(f"There is no account {owner}")
        created = await keys.create_key(db, owner, new.name, now, new.scopes)
        changes = keys.KeyChanges(new.origins, new.requests_per_minute)
        changed = await keys.change_key(db, owner, created.info.key_id, changes) or created.info
        await trail.record(db, now, owner, changed.key_id, **changed.rights())
    info = KeyView.model_validate(changed)
    return CreatedKey(**info.model_dump(), key=created.plain)


@router.patch("/api-keys/{keyId}", summary="Change an API key", responses=problem_responses(400, 404, 409))
async def update_key(
    key_id: KeyIdPath,
    patch: KeyPatch,
    services: CurrentServices,
    trail: Annotated[Trail, audited(AuditAction.KEY_CHANGED)],
    key: Administrator,
    account_id: AccountQuery = None,
) -> KeyView:
    """Set the origins and the limit of a key. Its secret and its scopes stay as they are."""
    owner = chosen_account(key, account_id)
    async with services.database.write() as db:
        before = await keys.load_key(db, owner, key_id, lock=True)
        changed = await keys.change_key(db, owner, key_id, patch.changes())
        if before is None or changed is None:
            raise NotFound(f"There is no key {key_id}")
        if before.revoked_at is not None:
            raise Conflict(
                f"The key {key_id} is revoked, so nothing of it can be changed; create another one"
            )
        found = differences(before.rights(), changed.rights())
        await trail.record(db, services.clock.now(), owner, key_id, changed=bool(found), **found)
    return KeyView.model_validate(changed)


@router.delete(
    "/api-keys/{keyId}", status_code=204, summary="Revoke an API key", responses=problem_responses(404)
)
async def revoke_api_key(
    key_id: KeyIdPath,
    services: CurrentServices,
    trail: Annotated[Trail, audited(AuditAction.KEY_REVOKED)],
    key: Administrator,
    account_id: AccountQuery = None,
) -> Response:
    """Refuse a key from now on. Repeating the request changes nothing."""
    owner, now = chosen_account(key, account_id), services.clock.now()
    async with services.database.write() as db:
        before = await keys.load_key(db, owner, key_id, lock=True)
        if before is None or not await keys.revoke_key(db, owner, key_id, now):
            raise NotFound(f"There is no key {key_id}")
        await trail.record(db, now, owner, key_id, changed=before.revoked_at is None)
    return Response(status_code=204)


async def _load(services: Services, account_id: AccountId | None) -> Sequence[AccountOverview]:
    vault = Vault(services.settings.secrets()[0])
    async with services.database.read() as db:
        return await load_overview(db, services.settings, vault, services.clock.now(), account_id)


def _view(account: AccountOverview) -> AccountView:
    return AccountView(
        account_id=account.account_id,
        is_own=account.is_own,
        added_at=account.added_at,
        problem=_problem(account.account_id, account.problem) if account.problem else None,
        credentials=[_credentials(member) for member in account.members],
    )


def _credentials(member: CredentialStatus) -> CredentialsView:
    return CredentialsView(
        name=member.name,
        kind=member.kind,
        level=member.access.level.value,
        extension_id=member.access.extension_id,
        owner_id=member.access.owner_id,
        scopes=list(member.access.scopes),
        problems=[_problem(member.holder, problem) for problem in member.problems],
        updated_at=member.updated_at,
    )


def _problem(account_id: str, stored: Mapping[str, Any]) -> AccountProblem:
    return AccountProblem.model_validate(read_problem(Subject.CREDENTIALS, account_id, stored))
