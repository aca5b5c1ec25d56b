"""The access token: bought with a JWT credential or a refresh token, shared by all replicas, renewed in time.

RingCentral lets one user and app ask for five tokens a minute and keep some five sessions (guides "Rate limits"
and "JWT flow"), so a token is bought once for all: one asks within the process, one among the replicas, and
everybody else takes what that one has saved. While the token endpoint refuses or fails, nobody asks it.

A refresh token works once. The pair that it buys is saved before anybody uses it: as long as the new access token
is unused, RingCentral answers the old refresh token with the same pair, for an hour (guide "Refresh tokens"), so
whoever crashes between answer and saving finds the way back.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from app.clock import Clock
from app.errors import CredentialsRefused, LeaseLost, RateLimited, RingCentralError, RingCentralUnreachable
from app.ringcentral.models import Token
from app.ringcentral.oauth import token_by_refresh
from app.ringcentral.ports import Priority, Refusal, StoredToken, TokenStore, TokenUnreadable, fingerprint_of
from app.ringcentral.protocol import decode_token, token_by_jwt
from app.ringcentral.protocol_errors import TOKEN_CODES, decode_token_error
from app.ringcentral.transport import Transport, Unanswered
from app.ringcentral.wire import Request, Response, read_error, read_rate_headers

SIGN_IN_AGAIN = "sign-in-again"
"""Our code for a refresh token that RingCentral takes no more: only a person can get a new one."""

_SPENT_CODES = TOKEN_CODES | {"OAU-210", "invalid_grant"}
"""What any of the codes of an answer says of a refresh token that is over; RFC 6749 has `invalid_grant` for it."""

_FOR_GOOD = timedelta(days=3650)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Credentials of one user, and the rules of the token endpoint (guide "Errors").

    Without `jwt` the user has signed in: the refresh token lies in the store, and `sign_in` names the sign-in, so
    that what another one left there is not mistaken for it.
    """

    client_id: str
    client_secret: str = field(repr=False)
    jwt: str | None = field(default=None, repr=False)
    sign_in: str = ""
    server_url: str = "https://platform.ringcentral.com"
    tries: int = 4
    pause_seconds: float = 10.0
    """Between two tries after 408, 5xx or no answer."""

    refusal_seconds: float = 300.0
    """How long nobody asks again after the credentials were refused for the first time."""

    longest_refusal_seconds: float = 3600.0
    """The same when RingCentral's own code has been their refusal for long (guide "Errors": ask a person)."""

    margin_seconds: float = 120.0
    """How long before its end a token is replaced; a tenth of its life if that is shorter."""

    slot_wait_seconds: float = 10.0
    """Longest wait for a slot of group Auth."""

    request_seconds: float = 10.0
    """Longest wait for one answer: `ClientConfig.timeout_seconds`."""

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
        """Names the credentials that a token is bought with."""
        if self.jwt is None:
            # Another secret of the same app does not end a sign-in.
            return fingerprint_of(self.server_url, self.client_id, "sign-in", self.sign_in)
        return self.presented

    @property
    def presented(self) -> str:
        """Names all that a token request shows, the app's secret too: one replica's wrong one is not the others'."""
        kept = f"sign-in {self.sign_in}" if self.jwt is None else self.jwt
        return fingerprint_of(self.server_url, self.client_id, self.client_secret, kept)


@dataclass(frozen=True, slots=True)
class _Pause:
    """Until when the token endpoint is left alone, and what to tell whoever asks meanwhile."""

    until: datetime
    failure: RingCentralError


class TokenKeeper:
    """Hands out the bearer token."""

    def __init__(self, transport: Transport, config: AuthConfig, store: TokenStore, clock: Clock) -> None:
        self._transport = transport
        self._config = config
        self._store = store
        self._clock = clock
        self._fingerprint = config.fingerprint
        self._token: StoredToken | None = None
        self._refused: str | None = None
        """The access token that the API refused last. It may have time left, and nothing but another one helps."""
        self._pause: _Pause | None = None
        self._single_flight = asyncio.Lock()

    async def token(self) -> StoredToken:
        """Return a token that lasts a while, asking for a new one if need be.

        Raises CredentialsRefused (a person has to act; for some minutes nobody asks again), RateLimited or
        RingCentralUnreachable. A token that still lives bridges the latter two.
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
            await self._heed_refusal()
            try:
                return await self._buy(self._living())
            except LeaseLost as error:
                # Whoever took over has bought a pair of its own by now: ours must not overwrite it, nor does a
                # refusal of the former one concern it.
                raise RingCentralUnreachable(
                    "another replica took over while we asked for a token"
                ) from error

    async def _take_shared(self) -> None:
        """Take the token that the replicas share, if it is newer than ours and bought with our credentials.

        Raises TokenUnreadable where nothing else can take its place: another replica has traded the pair that we
        may still hold, and what RingCentral says of the old one would end the sign-in for all. Raises
        RingCentralUnreachable when others have taken the place of our credentials meanwhile.
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
            self._heed_successor(stored)
            return
        # Of a pair that works once the store alone knows the present one, whatever the replicas' clocks say.
        if self._token is None or self._config.jwt is None or stored.issued_at > self._token.issued_at:
            self._token = stored

    def _heed_successor(self, stored: StoredToken) -> None:
        """Leave alone what has taken the place of our credentials: a token of ours would be the end of a sign-in, and a
        pair of ours would look like one to a credential."""
        is_former = self._token is not None if self._config.jwt is None else stored.refresh_token is not None
        if is_former:
            raise RingCentralUnreachable("these credentials were replaced while work went on with them")

    def _fresh(self) -> StoredToken | None:
        token = self._living()
        return token if token and self._is_fresh(token) else None

    def _living(self) -> StoredToken | None:
        """Return our present token unless it has expired or was refused; perhaps it should be replaced."""
        token = self._token
        if token is None or token.access_token == self._refused or token.expires_at <= self._clock.now():
            return None
        return token

    async def _buy(self, living: StoredToken | None) -> StoredToken:
        """Ask for a token; if that fails for a reason that passes, go on with the living one."""
        try:
            self._heed_pause()
            token = await self._grant(1 if living else self._config.tries)
        except (RateLimited, RingCentralUnreachable) as error:
            if living is None:
                raise
            _log.debug("token_renewal_postponed", why=error.detail)  # the journal tells of the outage
            return living
        if token.refresh_token is None:
            # Kept before it is shared: if saving fails, the next call must not buy another.
            self._token = token
        await self._store.save(token)
        self._token = token
        _log.info("token_renewed", expires_at=token.expires_at.isoformat())
        return token

    async def _grant(self, tries: int) -> StoredToken:
        for tries_left in reversed(range(tries)):
            asked_at = self._clock.now()
            try:
                return self._stored(decode_token(await self._ask()), asked_at)
            except _Later as later:
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

    async def _ask(self) -> Response:
        """Send one token request. Raises _Later if it is worth another try."""
        config = self._config
        request = self._request()
        deadline = self._clock.now() + timedelta(seconds=config.slot_wait_seconds)
        try:
            answer = await self._transport.attempt(
                request, request.headers["Authorization"], Priority.POLL, deadline
            )
        except Unanswered as error:
            raise _Later(error, config.pause_seconds) from error
        if answer.is_success:
            return answer
        now = self._clock.now()
        failure = decode_token_error(answer, now, penalty_seconds=config.penalty_seconds)
        if isinstance(failure, RingCentralUnreachable):
            seconds = read_rate_headers(answer, now).retry_after_seconds
            # Only a 429 can ask for longer: that is kept in the bucket, and people are told.
            longest = config.refusal_seconds
            raise _Later(failure, config.pause_seconds if seconds is None else min(seconds, longest))
        raise self._judged(failure, answer)

    def _request(self) -> Request:
        """Return the token request. Raises CredentialsRefused when there is nothing to ask with."""
        config = self._config
        if config.jwt is not None:
            return token_by_jwt(config.client_id, config.client_secret, config.jwt)
        if self._token is None or self._token.refresh_token is None:
            raise CredentialsRefused("nothing is left of this sign-in", code=SIGN_IN_AGAIN)
        return token_by_refresh(config.client_id, config.client_secret, self._token.refresh_token)

    def _stored(self, token: Token, asked_at: datetime) -> StoredToken:
        if self._config.jwt is not None:
            token = replace(token, refresh_token=None, refresh_expires_in_seconds=None)
        elif token.refresh_token is None and self._token is not None:
            token = replace(token, refresh_token=self._token.refresh_token)
        return stored_token(token, self._fingerprint, asked_at)

    def _is_fresh(self, token: StoredToken) -> bool:
        lifetime = token.expires_at - token.issued_at
        margin = min(timedelta(seconds=self._config.margin_seconds), lifetime / 10)
        return self._clock.now() < token.expires_at - margin

    def _paused(self, failure: RingCentralError, seconds: float) -> RingCentralError:
        self._pause = _Pause(self._clock.now() + timedelta(seconds=seconds), failure)
        return failure

    def _heed_pause(self) -> None:
        pause = self._pause
        if pause is not None and self._clock.now() < pause.until:
            raise pause.failure.with_traceback(None)

    def _judged(self, error: RingCentralError, answer: Response) -> RingCentralError:
        """Say of a refused refresh token that a person has to sign in again."""
        is_refused = isinstance(error, CredentialsRefused) and self._config.jwt is None
        if not is_refused or not _SPENT_CODES.intersection(read_error(answer).codes):
            return error
        return CredentialsRefused(
            error.detail,
            status=error.status,
            code=SIGN_IN_AGAIN,
            request_id=error.request_id,
        )

    async def _remember_refusal(self, error: CredentialsRefused) -> None:
        now = self._clock.now()
        since = await self._refused_since(error) or now
        refusal = Refusal(
            detail=error.detail,
            until=now + self._lasting(error, now - since),
            fingerprint=self._refusable(error.code),
            status=error.status,
            code=error.code,
            since=since,
            at=now,
        )
        _log.error("credentials_refused", status=error.status, code=error.code, why=error.detail)
        await self._store.save_refusal(refusal)

    async def _refused_since(self, error: CredentialsRefused) -> datetime | None:
        """Return when RingCentral first said so; None if this is the first time, or nothing of RingCentral's."""
        before = await self._store.load_refusal()
        if before is None or before.fingerprint != self._refusable(error.code) or error.code is None:
            return None
        return before.since if before.code == error.code else None

    def _lasting(self, error: CredentialsRefused, so_far: timedelta) -> timedelta:
        """Say how long nobody asks again: as long as the refusal has lasted, within bounds."""
        if error.code == SIGN_IN_AGAIN:
            return _FOR_GOOD
        config = self._config
        seconds = max(config.refusal_seconds, so_far.total_seconds())
        return timedelta(seconds=min(seconds, config.longest_refusal_seconds))

    def _refusable(self, code: str | None) -> str:
        """Name what a refusal of this code concerns: a sign-in that is over is so with any secret of the app."""
        return self._fingerprint if code == SIGN_IN_AGAIN else self._config.presented

    async def _heed_refusal(self) -> None:
        """Raise what another request, of whatever replica, was told some minutes ago."""
        refusal = await self._store.load_refusal()
        if refusal is None or refusal.until <= self._clock.now():
            return
        if refusal.fingerprint != self._refusable(refusal.code):
            return
        raise CredentialsRefused(refusal.detail, status=refusal.status, code=refusal.code)


def stored_token(token: Token, fingerprint: str, asked_at: datetime) -> StoredToken:
    """Return what is kept of a token answer to a request that was sent at `asked_at`."""
    refresh_seconds = token.refresh_expires_in_seconds
    return StoredToken(
        access_token=token.access_token,
        issued_at=asked_at,
        expires_at=asked_at + timedelta(seconds=min(token.expires_in_seconds, 86_400.0)),
        fingerprint=fingerprint,
        owner_id=token.owner_id,
        scopes=tuple(sorted(token.scopes)),
        refresh_token=token.refresh_token,
        refresh_expires_at=(
            asked_at + min(timedelta(seconds=min(refresh_seconds, 1e9)), _FOR_GOOD)
            if token.refresh_token and refresh_seconds
            else None
        ),
    )


class MemoryTokenStore:
    """A TokenStore for one process: tests, and commands that look and leave."""

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


class _Later(Exception):
    """The token endpoint may answer better after `seconds`."""

    def __init__(self, failure: RingCentralError, seconds: float) -> None:
        super().__init__(failure.detail)
        self.failure = failure
        self.seconds = seconds
