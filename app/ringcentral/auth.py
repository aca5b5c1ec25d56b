"""The access token: bought with a JWT credential or a refresh token, shared by all replicas, renewed in time.

RingCentral allows one user and app five token requests a minute and about five sessions (guides "Rate limits"
and "JWT flow"). So a token is bought once for all: one task of a process and one replica request it, and the
others take what was saved. While the token endpoint refuses or fails, nobody requests one.

A refresh token works once. Its new pair is saved before it is used: while the new access token is unused,
RingCentral answers the old refresh token with the same pair, for an hour (guide "Refresh tokens"). So a crash
between response and saving does not lose the sign-in.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from app.clock import Clock
from app.errors import (
    AccessReason,
    CredentialsRefused,
    LeaseLost,
    RateLimited,
    RingCentralError,
    RingCentralUnreachable,
)
from app.ringcentral.models import Token
from app.ringcentral.ports import Priority, TokenStore
from app.ringcentral.protocol.errors import TOKEN_CODES, decode_token_error
from app.ringcentral.protocol.oauth import decode_token, token_by_jwt, token_by_refresh
from app.ringcentral.stored_tokens import (
    FOREVER,
    Refusal,
    StoredToken,
    TokenUnreadable,
    fingerprint_of,
    stored_token,
)
from app.ringcentral.transport import Transport, Unanswered
from app.ringcentral.wire import Request, Response, read_error, read_rate_headers

_SPENT_CODES = TOKEN_CODES | {"OAU-210", "invalid_grant"}
"""Any of these codes says that a refresh token is over; RFC 6749 calls it `invalid_grant`."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Credentials of one user, and the rules of the token endpoint (guide "Errors").

    Without `jwt` the user has signed in: the refresh token is in the store, and `sign_in` identifies the
    sign-in, so that the token of another one is not used by mistake.
    """

    client_id: str
    client_secret: str = field(repr=False)
    jwt: str | None = field(default=None, repr=False)
    sign_in: str = ""
    server_url: str = "https://platform.ringcentral.com"
    tries: int = 4
    pause_seconds: float = 10.0
    """Between two tries after 408, 5xx or no response."""

    refusal_seconds: float = 300.0
    """How long nobody retries after the first refusal of the credentials."""

    longest_refusal_seconds: float = 3600.0
    """The same once RingCentral has refused them with its own code for long (guide "Errors": ask a person).
    """

    margin_seconds: float = 120.0
    """How long before its end a token is replaced; a tenth of its life if that is shorter."""

    slot_wait_seconds: float = 10.0
    """Longest wait for a slot of group Auth."""

    request_seconds: float = 10.0
    """Longest wait for one response: `ClientConfig.timeout_seconds`."""

    penalty_seconds: float = 60.0

    @property
    def longest_grant_seconds(self) -> float:
        """How long a replica can hold the store's lock."""
        return (
            self.tries * (self.request_seconds + self.slot_wait_seconds)
            + (self.tries - 1) * self.pause_seconds
        )

    @property
    def fingerprint(self) -> str:
        """Identifies the credentials that a token is bought with."""
        if self.jwt is None:
            # Another secret of the same app does not end a sign-in.
            return fingerprint_of(self.server_url, self.client_id, "sign-in", self.sign_in)
        return self.presented

    @property
    def presented(self) -> str:
        """Identifies all that a token request presents, the app's secret included: one replica's wrong secret
        is not another's.
        """
        kept = f"sign-in {self.sign_in}" if self.jwt is None else self.jwt
        return fingerprint_of(self.server_url, self.client_id, self.client_secret, kept)


@dataclass(frozen=True, slots=True)
class _Pause:
    """Until when the token endpoint is left alone, and what to raise meanwhile."""

    until: datetime
    failure: RingCentralError


class TokenKeeper:
    """Provides the bearer token."""

    def __init__(self, transport: Transport, config: AuthConfig, store: TokenStore, clock: Clock) -> None:
        self._transport = transport
        self._config = config
        self._store = store
        self._clock = clock
        self._fingerprint = config.fingerprint
        self._token: StoredToken | None = None
        self._refused: str | None = None
        """The access token that the API refused last. It may have time left, but only another one helps."""
        self._pause: _Pause | None = None
        self._single_flight = asyncio.Lock()

    async def token(self) -> StoredToken:
        """Return a token that lasts a while, buying a new one if necessary.

        Raises CredentialsRefused (a person has to act; nobody retries for some minutes), RateLimited or
        RingCentralUnreachable. A token that is still valid bridges the latter two.
        """
        if token := self._fresh():
            return token
        async with self._single_flight:
            return await self._obtain()

    async def renew(self, refused: StoredToken) -> StoredToken:
        """Return another token than the one that the API refused; raises as `token` does."""
        async with self._single_flight:
            self._refused = refused.access_token
            return await self._obtain()

    async def _obtain(self) -> StoredToken:
        await self._take_shared()
        if token := self._fresh():
            return token
        async with self._store.lock():
            await self._take_shared()
            if token := self._fresh():
                return token
            await self._raise_refusal()
            try:
                return await self._buy(self._living())
            except LeaseLost as error:
                # The other replica has bought a pair of its own by now. Ours must not overwrite it, and a
                # refusal of the old one does not concern it.
                raise RingCentralUnreachable("another replica took over the request for a token") from error

    async def _take_shared(self) -> None:
        """Take the token that the replicas share, if it is newer than ours and was bought with our
        credentials.

        Raises TokenUnreadable for a sign-in: another replica has exchanged the pair that we may still hold,
        and RingCentral's response to the old one would end the sign-in for all. Raises RingCentralUnreachable
        if other credentials have replaced ours.
        """
        try:
            stored = await self._store.load()
        except TokenUnreadable:
            if self._config.jwt is None:
                raise
            return
        if stored is None:
            return
        if stored.fingerprint != self._fingerprint:
            self._reject_successor(stored)
            return
        # A refresh token works once, so only the store knows the current pair, whatever the clocks of
        # replicas say.
        if self._token is None or self._config.jwt is None or stored.issued_at > self._token.issued_at:
            self._token = stored

    def _reject_successor(self, stored: StoredToken) -> None:
        """Raise if other credentials have replaced ours.

        A token of ours would overwrite a sign-in, and a pair of ours would look like one to a JWT credential.
        """
        is_former = self._token is not None if self._config.jwt is None else stored.refresh_token is not None
        if is_former:
            raise RingCentralUnreachable("these credentials were replaced while they were in use")

    def _fresh(self) -> StoredToken | None:
        token = self._living()
        return token if token and self._is_fresh(token) else None

    def _living(self) -> StoredToken | None:
        """Return our token unless it has expired or was refused; it may be due for replacement."""
        token = self._token
        if token is None or token.access_token == self._refused or token.expires_at <= self._clock.now():
            return None
        return token

    async def _buy(self, living: StoredToken | None) -> StoredToken:
        """Request a token; if that fails for a reason that passes, continue with the valid one."""
        try:
            self._raise_pause()
            token = await self._grant(1 if living else self._config.tries)
        except (RateLimited, RingCentralUnreachable) as error:
            if living is None:
                raise
            _log.debug("token_renewal_postponed", why=error.detail)  # the journal logs the outage
            return living
        if token.refresh_token is None:
            # Kept before it is shared: if saving fails, the next call must not buy another one. A pair is
            # not: nobody may use it before it is saved, or a crash would lose the sign-in.
            self._token = token
        await self._store.save(token)
        self._token = token
        _log.info("token_renewed", expires_at=token.expires_at.isoformat())
        return token

    async def _grant(self, tries: int) -> StoredToken:
        for tries_left in reversed(range(tries)):
            sent_at = self._clock.now()
            try:
                return self._stored(decode_token(await self._request_token()), sent_at)
            except _TryLater as later:
                if tries_left and later.seconds <= self._config.pause_seconds:
                    await self._clock.sleep(later.seconds)
                    continue
                raise self._paused(later.failure, later.seconds) from later.failure.__cause__
            except RateLimited as error:
                self._pause = _Pause(error.retry_at, error)
                raise
            except RingCentralUnreachable as error:
                raise self._paused(error, self._config.pause_seconds) from error.__cause__
            except CredentialsRefused as error:
                await self._remember_refusal(error)
                raise
        raise AssertionError("AuthConfig.tries is at least 1")

    async def _request_token(self) -> Response:
        """Send one token request. Raises _TryLater if another try makes sense."""
        config = self._config
        request = self._token_request()
        deadline = self._clock.now() + timedelta(seconds=config.slot_wait_seconds)
        try:
            response = await self._transport.attempt(
                request, request.headers["Authorization"], Priority.POLL, deadline
            )
        except Unanswered as error:
            raise _TryLater(error, config.pause_seconds) from error
        if response.is_success:
            return response
        now = self._clock.now()
        failure = decode_token_error(response, now, penalty_seconds=config.penalty_seconds)
        if isinstance(failure, RingCentralUnreachable):
            seconds = read_rate_headers(response, now).retry_after_seconds
            # Only a 429 can ask for longer: the bucket keeps that, and operators see it.
            longest = config.refusal_seconds
            raise _TryLater(failure, config.pause_seconds if seconds is None else min(seconds, longest))
        raise self._sign_in_ended(failure, response)

    def _token_request(self) -> Request:
        """Return the token request. Raises CredentialsRefused if there is nothing to present."""
        config = self._config
        if config.jwt is not None:
            return token_by_jwt(config.client_id, config.client_secret, config.jwt)
        if self._token is None or self._token.refresh_token is None:
            raise CredentialsRefused(
                "this sign-in has no refresh token left", code=AccessReason.SIGN_IN_AGAIN
            )
        return token_by_refresh(config.client_id, config.client_secret, self._token.refresh_token)

    def _stored(self, token: Token, sent_at: datetime) -> StoredToken:
        if self._config.jwt is not None:
            token = replace(token, refresh_token=None, refresh_expires_in_seconds=None)
        elif token.refresh_token is None and self._token is not None:
            token = replace(token, refresh_token=self._token.refresh_token)
        return stored_token(token, self._fingerprint, sent_at)

    def _is_fresh(self, token: StoredToken) -> bool:
        lifetime = token.expires_at - token.issued_at
        margin = min(timedelta(seconds=self._config.margin_seconds), lifetime / 10)
        return self._clock.now() < token.expires_at - margin

    def _paused(self, failure: RingCentralError, seconds: float) -> RingCentralError:
        self._pause = _Pause(self._clock.now() + timedelta(seconds=seconds), failure)
        return failure

    def _raise_pause(self) -> None:
        pause = self._pause
        if pause is not None and self._clock.now() < pause.until:
            raise pause.failure.with_traceback(None)

    def _sign_in_ended(self, error: RingCentralError, response: Response) -> RingCentralError:
        """Turn the refusal of a refresh token into one that tells a person to sign in again."""
        is_refused = isinstance(error, CredentialsRefused) and self._config.jwt is None
        if not is_refused or not _SPENT_CODES.intersection(read_error(response).codes):
            return error
        return CredentialsRefused(
            error.detail,
            status=error.status,
            code=AccessReason.SIGN_IN_AGAIN,
            request_id=error.request_id,
        )

    async def _remember_refusal(self, error: CredentialsRefused) -> None:
        now = self._clock.now()
        since = await self._refused_since(error) or now
        refusal = Refusal(
            detail=error.detail,
            until=now + self._refusal_time(error, now - since),
            fingerprint=self._refused_fingerprint(error.code),
            status=error.status,
            code=error.code,
            since=since,
            at=now,
        )
        _log.error("credentials_refused", status=error.status, code=error.code, why=error.detail)
        await self._store.save_refusal(refusal)

    async def _refused_since(self, error: CredentialsRefused) -> datetime | None:
        """Return when RingCentral first refused with this code; None if it is new, or a code of ours."""
        before = await self._store.load_refusal()
        if (
            before is None
            or before.fingerprint != self._refused_fingerprint(error.code)
            or error.code is None
        ):
            return None
        return before.since if before.code == error.code else None

    def _refusal_time(self, error: CredentialsRefused, so_far: timedelta) -> timedelta:
        """Return how long nobody retries: as long as the refusal has lasted, within bounds."""
        if error.code == AccessReason.SIGN_IN_AGAIN:
            return FOREVER
        config = self._config
        seconds = max(config.refusal_seconds, so_far.total_seconds())
        return timedelta(seconds=min(seconds, config.longest_refusal_seconds))

    def _refused_fingerprint(self, code: str | None) -> str:
        """Return whom a refusal concerns: a sign-in that is over is so with any secret of its app."""
        return self._fingerprint if code == AccessReason.SIGN_IN_AGAIN else self._config.presented

    async def _raise_refusal(self) -> None:
        """Raise the refusal that any replica got some minutes ago."""
        refusal = await self._store.load_refusal()
        if refusal is None or refusal.until <= self._clock.now():
            return
        if refusal.fingerprint != self._refused_fingerprint(refusal.code):
            return
        raise CredentialsRefused(refusal.detail, status=refusal.status, code=refusal.code)


class MemoryTokenStore:
    """A TokenStore for one process: tests, and commands that check something and end."""

    def __init__(self) -> None:
        self.token: StoredToken | None = None
        self.refusal: Refusal | None = None
        self._lock = asyncio.Lock()

    async def load(self) -> StoredToken | None:
        return self.token

    async def save(self, token: StoredToken) -> None:
        self.token, self.refusal = token, None

    async def load_refusal(self) -> Refusal | None:
        return self.refusal

    async def save_refusal(self, refusal: Refusal) -> None:
        self.refusal = refusal

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        async with self._lock:
            yield


class _TryLater(Exception):
    """The token endpoint may succeed after `seconds`."""

    def __init__(self, failure: RingCentralError, seconds: float) -> None:
        super().__init__(failure.detail)
        self.failure = failure
        self.seconds = seconds
