"""Tokens as RingCentral issues and kills them. Keeps state, does no I/O, takes `now` as an argument.

Rules (guide "Refresh tokens"): a refresh token works once and the access token it replaces is dead at once;
a repeat answers with the same new pair for about 10 s after the new access token was first used, or for up to
60 minutes if it never was. More than five sessions of one user and application push the oldest out.

A code of the authorization code flow works once, for a minute, with the address that it was issued for and the
verifier of its challenge (RFC 7636; guides "Authorization code flow", "PKCE").
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
    """When the present access token was first used."""
    replaced_token: str | None = None
    replaced_at: datetime | None = None
    """The refresh token before the present one, and when it was traded in."""

    def is_over(self, now: datetime) -> bool:
        """Whether neither token can be used any more."""
        return self.access_until <= now and (self.refresh_until is None or self.refresh_until <= now)


@dataclass(frozen=True, slots=True)
class Code:
    """What a code was issued for. `challenge` is None when the client asked without proof of possession."""

    user: User
    redirect_uri: str
    challenge: str | None
    until: datetime


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What the application's settings say; seconds of the unscaled world, divided by `speed` on use."""

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
        """Answer a token request whose client was checked; raises TokenRefused.

        `withheld` are scopes that the application has not now, whatever its settings say.
        """
        kind = form.get("grant_type")
        if kind == JWT_GRANT:
            session = self._log_in(form, now, speed, refreshable=refreshable)
        elif kind == "refresh_token":
            session = self._refresh(form.get("refresh_token", ""), now, speed)
        elif kind == "authorization_code":
            session = self._trade_code(form, now, speed, refreshable=refreshable)
        elif kind in ("password", "partner_jwt"):
            raise TokenRefused(400, "unauthorized_client", "OAU-251", "Unauthorized for this grant type")
        else:
            raise TokenRefused(400, "unsupported_grant_type", "OAU-250", "Unsupported grant type")
        return _token_answer(session, now, withheld)

    def user_of_grant(self, form: Mapping[str, str]) -> str:
        """Return whose rate bucket a token request falls into: an extension id, or empty if nobody's."""
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
        """Return a code for a user who has signed in and agreed."""
        code = self.make_token()
        until = now + timedelta(seconds=max(CODE_SECONDS / speed, 2.0))
        self._codes[code] = Code(user, redirect_uri, challenge, until)
        return code

    def knows(self, token: str) -> bool:
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
        """End the session of an access or refresh token; an unknown one is no error."""
        session = self._by_access.get(token) or self._by_refresh(token)
        if session is not None:
            self._end(session)

    def expire_all(self) -> int:
        """Let every access token expire now (OAU-128); returns how many there were."""
        for session in self.sessions:
            self._expired.add(session.access_token)
        return len(self.sessions)

    def revoke_all(self) -> int:
        """End every session (OAU-213); returns how many there were."""
        ended = list(self.sessions)
        for session in ended:
            self._end(session)
        return len(ended)

    def _trade_code(
        self, form: Mapping[str, str], now: datetime, speed: float, *, refreshable: bool
    ) -> Session:
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
        wanted = form.get("scope", "").split()
        session = Session(
            id=self.make_token(),
            user=user,
            scopes=tuple(scope for scope in self.rules.scopes if not wanted or scope in wanted),
            endpoint_id=form.get("endpoint_id") or f"ep-{self.make_token()[:8]}",
            access_token="",
            access_until=now,
            access_seconds=access_seconds / speed,
            refresh_seconds=refresh_seconds / speed,
        )
        self._issue(session, now, refreshable=refreshable)
        self.sessions.append(session)
        self._push_out(user, now)
        return session

    def _refresh(self, token: str, now: datetime, speed: float) -> Session:
        session = self._by_refresh(token)
        if session is None:
            raise TokenRefused(400, "invalid_grant", "OAU-210", "The refresh token is invalid or expired")
        if token == session.replaced_token:
            if not _may_repeat(session, now, speed):
                raise TokenRefused(400, "invalid_grant", "OAU-210", "The refresh token was already used")
            return session
        if session.refresh_until is not None and session.refresh_until <= now:
            raise TokenRefused(400, "invalid_grant", "OAU-210", "The refresh token is expired")
        session.replaced_token, session.replaced_at = token, now
        self._issue(session, now, refreshable=True)
        return session

    def _issue(self, session: Session, now: datetime, *, refreshable: bool) -> None:
        self._by_access.pop(session.access_token, None)
        session.access_token, session.used_at = self.make_token(), None
        session.access_until = now + timedelta(seconds=session.access_seconds)
        self._by_access[session.access_token] = session
        if refreshable:
            session.refresh_token = self.make_token()
            session.refresh_until = now + timedelta(seconds=session.refresh_seconds)

    def _push_out(self, user: User, now: datetime) -> None:
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
    """Whether the refresh token before the present one still answers."""
    if session.replaced_at is None:
        return False
    if session.used_at is None:
        return now <= session.replaced_at + timedelta(seconds=REPEAT_UNUSED_SECONDS / speed)
    return now <= session.used_at + timedelta(seconds=REPEAT_AFTER_USE_SECONDS / speed)


def _token_answer(session: Session, now: datetime, withheld: Collection[str]) -> Json:
    """Return the token answer; lifetimes are whole seconds, at least one however fast the time."""
    answer: Json = {
        "access_token": session.access_token,
        "token_type": "bearer",
        "expires_in": _whole((session.access_until - now).total_seconds()),
        "scope": " ".join(scope for scope in session.scopes if scope not in withheld),
        "owner_id": session.user.extension_id,
        "endpoint_id": session.endpoint_id,
    }
    if session.refresh_token is not None and session.refresh_until is not None:
        answer["refresh_token"] = session.refresh_token
        answer["refresh_token_expires_in"] = _whole((session.refresh_until - now).total_seconds())
    return answer


def _whole(seconds: float) -> int:
    return max(1, int(seconds))
