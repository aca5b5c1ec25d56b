"""Tokens as RingCentral issues and revokes them. Has state, does no I/O, takes `now` as an argument.

Rules (guide "Refresh tokens"): a refresh token works once, and the old access token is invalid immediately. A
repeated refresh returns the same new pair for about 10 s after the new access token was first used, or for up
to 60 minutes if it was never used. A sixth session of one user and application ends the oldest one.

A code of the authorization code flow works once, for one minute, with the redirect URI that it was issued for
and the verifier of its challenge (RFC 7636; guides "Authorization code flow", "PKCE").
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.simulator.platform.errors import Refused, TokenRefused
from app.simulator.scripting.company import User
from app.simulator.scripting.model import Json

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
REPEAT_AFTER_USE_SECONDS = 10.0
REPEAT_UNUSED_SECONDS = 3600.0
CODE_SECONDS = 60.0
ACCESS_TTL_RANGE = (600, 3600)
REFRESH_TTL_MAX = 2_592_000


@dataclass(slots=True)
class Session:
    """One log-in of a user through the application."""

    id: str
    user: User
    scopes: tuple[str, ...]
    endpoint_id: str
    access_token: str
    access_until: datetime
    access_seconds: float
    refresh_token: str | None = None
    refresh_until: datetime | None = None
    refresh_seconds: float = 0.0
    used_at: datetime | None = None
    """When the current access token was first used."""
    replaced_token: str | None = None
    replaced_at: datetime | None = None
    """The refresh token before the current one, and when it was exchanged."""

    def is_over(self, now: datetime) -> bool:
        """Whether both tokens have expired."""
        return self.access_until <= now and (self.refresh_until is None or self.refresh_until <= now)


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code. `challenge` is None if the client did not use PKCE."""

    user: User
    redirect_uri: str
    challenge: str | None
    until: datetime


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The settings of the application. Seconds are simulated ones."""

    client_id: str
    client_secret: str
    scopes: tuple[str, ...]
    access_seconds: float
    refresh_seconds: float
    max_sessions: int


def _new_token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(slots=True)
class Tokens:
    """All sessions of the simulated application."""

    rules: TokenRules
    users: Mapping[str, User]
    make_token: Callable[[], str] = _new_token
    sessions: list[Session] = field(default_factory=list)
    _by_access: dict[str, Session] = field(default_factory=dict)
    _expired: set[str] = field(default_factory=set)
    _codes: dict[str, Code] = field(default_factory=dict)

    def check_client(self, authorization: str | None, form: Mapping[str, str]) -> None:
        """Check the application's Basic credentials; raises TokenRefused."""
        if authorization is None:
            code = "OAU-123" if "client_id" not in form else "OAU-140"
            raise TokenRefused(401, "invalid_client", code, "Client authentication is required")
        given = _basic(authorization)
        if given is None:
            raise TokenRefused(401, "invalid_client", "OAU-123", "Authentication header value is malformed")
        if given != (self.rules.client_id, self.rules.client_secret):
            raise TokenRefused(401, "invalid_client", "OAU-140", "Client credentials are invalid")

    def grant(
        self,
        form: Mapping[str, str],
        now: datetime,
        speed: float,
        *,
        refreshable: bool,
        withheld: Collection[str] = (),
    ) -> Json:
        """Answer a token request of an authenticated client; raises TokenRefused.

        `withheld` are scopes that the application currently lacks.
        """
        kind = form.get("grant_type")
        if kind == JWT_GRANT:
            session = self._log_in(form, now, speed, refreshable=refreshable)
        elif kind == "refresh_token":
            session = self._refresh(form.get("refresh_token", ""), now, speed)
        elif kind == "authorization_code":
            session = self._exchange_code(form, now, speed, refreshable=refreshable)
        elif kind in ("password", "partner_jwt"):
            raise TokenRefused(400, "unauthorized_client", "OAU-251", "Unauthorized for this grant type")
        else:
            raise TokenRefused(400, "unsupported_grant_type", "OAU-250", "Unsupported grant type")
        return _show_tokens(session, now, withheld)

    def user_of_grant(self, form: Mapping[str, str]) -> str:
        """Return the extension id whose rate bucket counts a token request, empty for an unknown user."""
        user = self.users.get(form.get("assertion", ""))
        if user is not None:
            return user.extension_id
        code = self._codes.get(form.get("code", ""))
        if code is not None:
            return code.user.extension_id
        session = self._by_refresh(form.get("refresh_token", ""))
        return "" if session is None else session.user.extension_id

    def issue_code(
        self, user: User, redirect_uri: str, challenge: str | None, now: datetime, speed: float
    ) -> str:
        """Return a code for a user who signed in and consented."""
        code = self.make_token()
        until = now + timedelta(seconds=max(CODE_SECONDS / speed, 2.0))
        self._codes[code] = Code(user, redirect_uri, challenge, until)
        return code

    def has_issued(self, token: str) -> bool:
        """Whether an access token, refresh token or code was issued here."""
        return token in self._by_access or token in self._codes or self._by_refresh(token) is not None

    def authenticate(self, authorization: str | None, query_token: str | None, now: datetime) -> Session:
        """Return the session of a request's token; raises Refused."""
        token = query_token
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise Refused(401, "OAU-151", f"Authorization method not supported [{scheme}]")
        if not token or not token.isascii():
            raise Refused(401, "OAU-149", "Unparsable access token")
        session = self._by_access.get(token)
        if session is None or session.access_token != token:
            raise Refused(401, "OAU-213", "Token not found", top_code="TokenInvalid")
        if token in self._expired or session.access_until <= now:
            raise Refused(401, "OAU-128", "Access token expired")
        session.used_at = session.used_at or now
        return session

    def revoke(self, token: str) -> None:
        """End the session of an access or refresh token; an unknown token is no error."""
        session = self._by_access.get(token) or self._by_refresh(token)
        if session is not None:
            self._end(session)

    def expire_all(self) -> int:
        """Expire all access tokens now (OAU-128); returns their number."""
        for session in self.sessions:
            self._expired.add(session.access_token)
        return len(self.sessions)

    def revoke_all(self) -> int:
        """End all sessions (OAU-213); returns their number."""
        ended = list(self.sessions)
        for session in ended:
            self._end(session)
        return len(ended)

    def _exchange_code(
        self, form: Mapping[str, str], now: datetime, speed: float, *, refreshable: bool
    ) -> Session:
        # Removed before it is checked: a code works once, even if the request is refused.
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.until <= now:
            raise TokenRefused(400, "invalid_grant", "OAU-101", "Authorization code is invalid or expired")
        if form.get("redirect_uri") != code.redirect_uri:
            raise TokenRefused(400, "invalid_grant", "OAU-109", "Redirect URIs do not match")
        if code.challenge is not None and _challenge(form.get("code_verifier", "")) != code.challenge:
            raise TokenRefused(400, "invalid_grant", "OAU-102", "Code verifier does not match")
        return self._open(code.user, form, now, speed, refreshable=refreshable)

    def _log_in(self, form: Mapping[str, str], now: datetime, speed: float, *, refreshable: bool) -> Session:
        user = self.users.get(form.get("assertion", ""))
        if user is None:
            raise TokenRefused(400, "invalid_grant", "OAU-210", "The assertion is invalid or expired")
        return self._open(user, form, now, speed, refreshable=refreshable)

    def _open(
        self, user: User, form: Mapping[str, str], now: datetime, speed: float, *, refreshable: bool
    ) -> Session:
        access_seconds = _ttl(form, "access_token_ttl", self.rules.access_seconds, *ACCESS_TTL_RANGE)
        refresh_seconds = _ttl(form, "refresh_token_ttl", self.rules.refresh_seconds, 1, REFRESH_TTL_MAX)
        requested = form.get("scope", "").split()
        session = Session(
            id=self.make_token(),
            user=user,
            scopes=tuple(scope for scope in self.rules.scopes if not requested or scope in requested),
            endpoint_id=form.get("endpoint_id") or f"ep-{self.make_token()[:8]}",
            access_token="",
            access_until=now,
            access_seconds=access_seconds / speed,
            refresh_seconds=refresh_seconds / speed,
        )
        self._issue(session, now, refreshable=refreshable)
        self.sessions.append(session)
        self._end_oldest(user, now)
        return session

    def _refresh(self, token: str, now: datetime, speed: float) -> Session:
        session = self._by_refresh(token)
        if session is None:
            raise TokenRefused(400, "invalid_grant", "OAU-210", "The refresh token is invalid or expired")
        # A repetition returns the pair that the first request got, and issues nothing.
        if token == session.replaced_token:
            if not _may_repeat(session, now, speed):
                raise TokenRefused(400, "invalid_grant", "OAU-210", "The refresh token was already used")
            return session
        if session.refresh_until is not None and session.refresh_until <= now:
            raise TokenRefused(400, "invalid_grant", "OAU-210", "The refresh token is expired")
        # Stored before the new pair is issued: a client that lost the response can repeat the request.
        session.replaced_token, session.replaced_at = token, now
        self._issue(session, now, refreshable=True)
        return session

    def _issue(self, session: Session, now: datetime, *, refreshable: bool) -> None:
        # Without its entry the old access token is unknown (OAU-213), not expired (OAU-128).
        self._by_access.pop(session.access_token, None)
        session.access_token, session.used_at = self.make_token(), None
        session.access_until = now + timedelta(seconds=session.access_seconds)
        self._by_access[session.access_token] = session
        if refreshable:
            session.refresh_token = self.make_token()
            session.refresh_until = now + timedelta(seconds=session.refresh_seconds)

    def _end_oldest(self, user: User, now: datetime) -> None:
        # Expired sessions first: they do not count towards the limit. The list is in order of sign-in.
        for session in [session for session in self.sessions if session.is_over(now)]:
            self.sessions.remove(session)
        own = [session for session in self.sessions if session.user == user]
        for session in own[: max(0, len(own) - self.rules.max_sessions)]:
            self._end(session)

    def _end(self, session: Session) -> None:
        self._by_access.pop(session.access_token, None)
        self.sessions.remove(session)

    def _by_refresh(self, token: str) -> Session | None:
        if not token:
            return None
        return next((one for one in self.sessions if token in (one.refresh_token, one.replaced_token)), None)


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, separator, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, secret) if separator else None


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _ttl(form: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    given = form.get(name, "")
    return min(max(float(given), least), most) if given.isdigit() else default


def _may_repeat(session: Session, now: datetime, speed: float) -> bool:
    """Whether the previous refresh token still works."""
    if session.replaced_at is None:
        return False
    if session.used_at is None:
        return now <= session.replaced_at + timedelta(seconds=REPEAT_UNUSED_SECONDS / speed)
    return now <= session.used_at + timedelta(seconds=REPEAT_AFTER_USE_SECONDS / speed)


def _show_tokens(session: Session, now: datetime, withheld: Collection[str]) -> Json:
    """Return the token response. Lifetimes are whole seconds, at least 1 at any speed."""
    shown: Json = {
        "access_token": session.access_token,
        "token_type": "bearer",
        "expires_in": _whole((session.access_until - now).total_seconds()),
        "scope": " ".join(scope for scope in session.scopes if scope not in withheld),
        "owner_id": session.user.extension_id,
        "endpoint_id": session.endpoint_id,
    }
    if session.refresh_token is not None and session.refresh_until is not None:
        shown["refresh_token"] = session.refresh_token
        shown["refresh_token_expires_in"] = _whole((session.refresh_until - now).total_seconds())
    return shown


def _whole(seconds: float) -> int:
    return max(1, int(seconds))
