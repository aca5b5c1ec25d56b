"""Connecting an account by signing in with RingCentral: GET /oauth/ringcentral/start and
/oauth/ringcentral/callback.

The authorization code flow with PKCE. The service stores nothing between the two requests, so any replica may
handle the second: `state` passes through RingCentral, the verifier is in a cookie of the browser that
started, both are sealed with our key, and a nonce ties them together. Who may start:
docs/decisions/connecting-accounts.md.
"""

import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts.credentials import CredentialKind
from app.accounts.onboarding import Admitted, Onboarding
from app.accounts.onboarding.oauth_sign_in import AuthorizationCode
from app.accounts.overview import NEEDED_SCOPES, missing_scopes
from app.audit import SIGN_IN
from app.errors import (
    AftercallError,
    CredentialsRefused,
    PermissionMissing,
    RateLimited,
    RingCentralError,
    SettingsError,
    StorageUnavailable,
)
from app.ops.dashboard.router import CurrentDashboard, Dashboard
from app.ops.problems.model import Subject, read_problem
from app.ringcentral.protocol.oauth import VERIFIER_BYTES, authorize_address, challenge_of, verifier_of
from app.settings import LOCAL_HOSTS, Settings
from app.vault import InvalidToken, Vault

PATH = "/oauth/ringcentral"
SIGN_IN_MINUTES = 10
_STATE, _BROWSER, _INVITATION = "oauth-state", "oauth-browser", "oauth-invitation"
_LONGEST = 4096  # characters

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SignInStart:
    """What the browser gets: the address to open, and the cookie to come back with."""

    address: str
    cookie_name: str
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartedSignIn:
    """A sign-in that this browser started."""

    verifier: str = field(repr=False)
    redirect_uri: str


class SignInRefused(AftercallError):
    """The sign-in cannot continue; `todo` says what to do."""

    def __init__(self, title: str, todo: str, *, status: int = 400) -> None:
        super().__init__(title)
        self.title = title
        self.todo = todo
        self.status = status


_START_AGAIN = "Start again from the link that brought you here. Nothing was stored."


class SignInFlow:
    """The two halves of a sign-in, as values: what to send, and whether a response belongs to it."""

    def __init__(self, settings: Settings, vault: Vault) -> None:
        self._settings = settings
        self._vault = vault

    def start(self, base_address: str, now: datetime) -> SignInStart:
        """Create state, verifier and cookie. Raises SettingsError without an app."""
        if not self._settings.has_app or self._settings.rc_client_id is None:
            raise SettingsError("RC_CLIENT_ID and RC_CLIENT_SECRET are not set")
        nonce = secrets.token_urlsafe(24)
        verifier = verifier_of(secrets.token_bytes(VERIFIER_BYTES))
        redirect_uri = f"{base_address}{PATH}/callback"
        until = (now + timedelta(minutes=SIGN_IN_MINUTES)).isoformat()
        state = {"nonce": nonce, "until": until}
        browser = {"nonce": nonce, "verifier": verifier, "redirectUri": redirect_uri}
        address = authorize_address(
            self._settings.rc_server_url,
            self._settings.rc_client_id,
            redirect_uri=redirect_uri,
            state=self._seal(_STATE, state),
            challenge=challenge_of(verifier),
        )
        return SignInStart(address, cookie_name(nonce, base_address), self._seal(_BROWSER, browser))

    def read_state(self, state: str, now: datetime) -> str:
        """Return the nonce of a state of ours. Raises SignInRefused for any other, and after it expired."""
        values = self._open(_STATE, state)
        if "nonce" not in values or "until" not in values:
            raise SignInRefused("This sign-in was not started here", _START_AGAIN)
        if now >= datetime.fromisoformat(values["until"]):
            raise SignInRefused(
                "This sign-in took too long",
                f"It must be completed within {SIGN_IN_MINUTES} minutes. {_START_AGAIN}",
            )
        return values["nonce"]

    def read_cookie(self, nonce: str, cookie: str | None) -> StartedSignIn:
        """Return what the cookie holds. Raises SignInRefused for another browser, and for a repetition."""
        values = self._open(_BROWSER, cookie or "")
        # An empty nonce of a cookie that is not ours never equals that of the state.
        if not hmac.compare_digest(values.get("nonce", "").encode(), nonce.encode()):
            raise SignInRefused(
                "This browser did not start this sign-in, or has completed it",
                "If this page has already said that the account is connected, it is. Otherwise start again "
                "from the link that brought you here, in one browser.",
            )
        return StartedSignIn(values["verifier"], values["redirectUri"])

    def invite(self, now: datetime, lasts: timedelta) -> str:
        """Return an invitation. It lets its bearer connect their own account."""
        return self._seal(_INVITATION, {"until": (now + lasts).isoformat()})

    def is_invited(self, invitation: str | None, now: datetime) -> bool:
        """Whether this is an invitation of ours that has not expired."""
        until = self._open(_INVITATION, invitation or "").get("until")
        return until is not None and now < datetime.fromisoformat(until)

    def _seal(self, use: str, content: dict[str, str]) -> str:
        return self._vault.seal(use, json.dumps(content).encode())

    def _open(self, use: str, sealed: str) -> dict[str, str]:
        """Return what we sealed for this use; nothing for anything else."""
        # Before anything is decrypted: the request comes from anyone.
        if len(sealed) > _LONGEST:
            return {}
        try:
            content: dict[str, str] = json.loads(self._vault.unseal(use, sealed))
        except InvalidToken:
            return {}
        return content


def cookie_name(nonce: str, base_address: str) -> str:
    """Return the name of a sign-in's cookie, which differs for two sign-ins in one browser."""
    prefix = "__Host-" if base_address.startswith("https:") else ""
    return f"{prefix}aftercall-oauth-{nonce[:10]}"


def base_address(request: Request, settings: Settings) -> str:
    """Return the address at which the browser reaches this service, as registered with RingCentral.

    A request can name any host: without a public address only this machine's own names are trusted. A link to
    another host would give the invitation, and the code that RingCentral sends, to the owner of that host.

    Raises SettingsError.
    """
    if settings.public_url is not None:
        return settings.public_url
    if request.url.hostname not in LOCAL_HOSTS:
        raise SettingsError(
            "AFTERCALL_PUBLIC_URL is not set, so the address of this service is unknown; set it to the "
            "address that browsers use"
        )
    return str(request.base_url).rstrip("/")


def invitation_address(settings: Settings, request: Request | None, invitation: str) -> str:
    """Return the link of an invitation."""
    base = base_address(request, settings) if request is not None else settings.public_url
    return f"{base or 'http://127.0.0.1:8000'}{PATH}/start?invitation={invitation}"


router = APIRouter(prefix=PATH, include_in_schema=False)


async def current_flow(request: Request) -> SignInFlow:
    """Return the sign-in flow of this app."""
    settings: Settings = request.app.state.services.settings
    return SignInFlow(settings, Vault(settings.secrets()[0]))


CurrentFlow = Annotated[SignInFlow, Depends(current_flow)]


@router.get("/start")
async def start(
    request: Request,
    dashboard: CurrentDashboard,
    flow: CurrentFlow,
    invitation: Annotated[str | None, Query(max_length=_LONGEST)] = None,
) -> Response:
    """Redirect the browser to RingCentral to sign in."""
    now = dashboard.services.clock.now()
    try:
        await _check_may_start(request, dashboard, flow, invitation, now)
        started = flow.start(base_address(request, dashboard.services.settings), now)
    except AftercallError as error:
        return _draw(dashboard, error)
    response = RedirectResponse(started.address, 302, headers=dashboard.headers())
    response.set_cookie(
        started.cookie_name,
        started.cookie,
        max_age=SIGN_IN_MINUTES * 60,
        secure=started.cookie_name.startswith("__Host-"),
        httponly=True,
        samesite="lax",  # it has to be sent when RingCentral redirects the browser back
    )
    return response


async def _check_may_start(
    request: Request, dashboard: Dashboard, flow: SignInFlow, invitation: str | None, now: datetime
) -> None:
    # An invitation needs no sign-in; its bearer may be of another company.
    if flow.is_invited(invitation, now):
        return
    if invitation is not None:
        raise SignInRefused("This invitation is no longer valid", "Ask its sender for a new one.", status=403)
    viewer = await dashboard.sign_in.find_viewer(request)
    if viewer is None or not viewer.oversees:
        raise SignInRefused(
            "You may not connect accounts here",
            "First sign in to the dashboard with an admin key of the service, or open an invitation: "
            "`aftercall accounts invite` creates one.",
            status=403,
        )


@router.get("/callback")
async def callback(
    request: Request,
    dashboard: CurrentDashboard,
    flow: CurrentFlow,
    state: Annotated[str, Query(max_length=_LONGEST)] = "",
    code: Annotated[str | None, Query(max_length=_LONGEST)] = None,
    error: Annotated[str | None, Query(max_length=_LONGEST)] = None,
    error_description: Annotated[str | None, Query(max_length=_LONGEST)] = None,
) -> Response:
    """Exchange the code that the browser brings from RingCentral, and show the result."""
    # Known once the state has been read: before that there is no cookie to delete.
    name = None
    try:
        nonce = flow.read_state(state, dashboard.services.clock.now())
        # Its name depends on the scheme alone.
        name = cookie_name(nonce, dashboard.services.settings.public_url or str(request.base_url))
        started = flow.read_cookie(nonce, request.cookies.get(name))
        if error is not None or not code:
            raise _declined(error, error_description)
        onboarding: Onboarding = request.app.state.process.onboarding
        admitted = await onboarding.by_code(
            AuthorizationCode(code, started.verifier, started.redirect_uri), by=SIGN_IN
        )
        response = _draw_success(dashboard, admitted)
    except AftercallError as failure:
        response = _draw(dashboard, failure)
    if name is not None:
        # The code works once, so the cookie is of no use after a failure either.
        response.delete_cookie(name, secure=name.startswith("__Host-"), httponly=True, samesite="lax")
    return response


def _declined(error: str | None, description: str | None) -> SignInRefused:
    if error == "access_denied":
        return SignInRefused(
            "The account was not connected",
            "You did not agree. If you change your mind, start again.",
            status=200,
        )
    reason = f"{error or 'no code'}: {description or 'RingCentral gave no reason'}"[:300]
    return SignInRefused(
        "RingCentral refused the authorization",
        f"Its message: “{reason}”. Check that the app in the developer console has the authorization code "
        "flow enabled and lists the address of this page, up to the question mark, as a redirect URI.",
    )


def _draw_success(dashboard: Dashboard, admitted: Admitted) -> Response:
    access = admitted.access
    lines = [
        "From now on the calls of the whole account are enriched."
        if access.problem is None and access.extension_id is None
        else "From now on the calls of your own extension are enriched. For those of the whole account, an "
        "administrator must grant you the permission ReadCompanyCallLog; it takes effect within an hour."
        if access.problem is None
        else read_problem(Subject.CREDENTIALS, admitted.account_id, access.problem).detail,
    ]
    lacking = missing_scopes(access.scopes)
    if lacking:
        scopes = ", ".join(f"{scope} (to {NEEDED_SCOPES[scope]})" for scope in lacking)
        lines.append(f"The app still lacks {scopes}: grant it in the developer console, then sign in again.")
    return dashboard.page(
        "oauth.html",
        title="The account is connected" if admitted.is_new else "The account is connected again",
        lines=[f"Account {admitted.account_id}, as the user {access.owner_id or admitted.name}.", *lines],
        is_well=access.problem is None and not lacking,
        kind=CredentialKind.OAUTH.value,
    )


def _draw(dashboard: Dashboard, error: AftercallError) -> Response:
    """Return a page that says what went wrong and what to do."""
    refused = error if isinstance(error, SignInRefused) else _explain(error)
    log.info("a sign-in failed", why=refused.title)
    return dashboard.page(
        "oauth.html", refused.status, title=refused.title, lines=[refused.todo], is_well=False, kind="refused"
    )


def _explain(error: AftercallError) -> SignInRefused:
    match error:
        case SettingsError():
            if "PUBLIC_URL" in str(error):
                return SignInRefused(
                    "This service does not know its own address", f"For the operator: {error}."
                )
            return SignInRefused(
                "This service has no RingCentral app to sign in with",
                f"The operator must set RC_CLIENT_ID and RC_CLIENT_SECRET, then restart ({error}).",
                status=503,
            )
        case CredentialsRefused(code="no-refresh-token"):
            return SignInRefused(
                "The sign-in would not last", f"{error.detail}. Then sign in again.", status=502
            )
        case CredentialsRefused():
            return SignInRefused(
                "RingCentral refused the sign-in",
                f"Its message: “{error.detail}” ({error.code or error.status}). A code works once and for a "
                "minute: start again. If it happens again, check RC_CLIENT_ID and RC_CLIENT_SECRET.",
                status=502,
            )
        case PermissionMissing():
            return SignInRefused(
                "RingCentral does not say which account this is",
                f"Grant the app the scope {error.permission or 'ReadCallLog'} in the developer console, then "
                "sign in again.",
                status=502,
            )
        case RateLimited():
            return SignInRefused(
                "RingCentral asks us to wait", "Start again in a minute. Nothing was stored.", status=503
            )
        case RingCentralError():
            return SignInRefused(
                "RingCentral gave no usable response",
                f"Start again in a minute ({error.detail}).",
                status=502,
            )
        case StorageUnavailable():
            return SignInRefused(
                "The database does not respond", "Start again in a minute. Nothing was stored.", status=503
            )
        case _:
            return SignInRefused("The account could not be connected", str(error), status=502)
