"""Begins and ends a session of a user who signs in: exchanges the code for tokens, revokes them."""

from dataclasses import dataclass, field

import httpx
import structlog

from app.accounts.config import client_config
from app.clock import Clock
from app.errors import AccessReason, CredentialsRefused, RingCentralError
from app.ringcentral.auth import AuthConfig
from app.ringcentral.ports import Outcome, Priority, RateSlot
from app.ringcentral.protocol.errors import decode_token_error
from app.ringcentral.protocol.oauth import decode_token, revoke_token, token_by_code
from app.ringcentral.stored_tokens import StoredToken, stored_token
from app.ringcentral.transport import Transport
from app.ringcentral.wire import Request, Response
from app.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """What the browser brought from the sign-in, and what it was sent with."""

    code: str = field(repr=False)
    verifier: str = field(repr=False)
    redirect_uri: str


class Unmetered:
    """The budget of a user who is not known yet: a handful of requests, with nothing to share."""

    async def acquire(self, group: str, priority: Priority, deadline: object) -> RateSlot:
        return RateSlot(group, 0)

    async def settle(self, slot: RateSlot, outcome: Outcome) -> None:
        return None


class TokenExchange:
    """Requests to the token endpoint other than those of `TokenKeeper`, one try each: a person is waiting."""

    def __init__(self, settings: Settings, clock: Clock, http: httpx.AsyncClient) -> None:
        self._transport = Transport(http, client_config(settings), Unmetered(), clock)
        self._clock = clock

    async def exchange(self, auth: AuthConfig, code: AuthorizationCode) -> StoredToken:
        """Exchange the code of a sign-in for a pair of tokens. Raises CredentialsRefused and other
        RingCentralErrors.
        """
        request = token_by_code(
            auth.client_id,
            auth.client_secret,
            code=code.code,
            verifier=code.verifier,
            redirect_uri=code.redirect_uri,
        )
        sent_at = self._clock.now()
        response = await self._send(request)
        if not response.is_success:
            raise decode_token_error(response, self._clock.now(), penalty_seconds=auth.penalty_seconds)
        token = stored_token(decode_token(response), auth.fingerprint, sent_at)
        if token.refresh_token is None:
            raise CredentialsRefused(
                "RingCentral issued no refresh token, so the sign-in would end within the hour: let the "
                "app issue "
                "refresh tokens in the developer console",
                code=AccessReason.NO_REFRESH_TOKEN,
            )
        return token

    async def revoke(self, auth: AuthConfig, token: StoredToken) -> None:
        """End a session. An error is ignored and not retried (guide "Revoking tokens")."""
        request = revoke_token(auth.client_id, auth.client_secret, token.refresh_token or token.access_token)
        try:
            await self._send(request)
        except RingCentralError as error:
            log.info("a session was left to expire", why=error.detail)

    async def _send(self, request: Request) -> Response:
        return await self._transport.attempt(request, request.headers["Authorization"], Priority.POLL, None)
