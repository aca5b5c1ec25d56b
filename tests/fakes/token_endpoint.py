"""RingCentral's token endpoint with a session that somebody has signed in to, by the simulator's rules."""

from datetime import datetime
from urllib.parse import parse_qsl

import httpx

from app.ringcentral.auth import AuthConfig
from app.ringcentral.models import read_token
from app.ringcentral.stored_tokens import StoredToken, stored_token
from app.simulator.platform.errors import TokenRefused
from app.simulator.platform.tokens import JWT_GRANT, TokenRules, Tokens
from app.simulator.scripting.company import users_of
from tests.fakes.clock import FakeClock

SERVER = "https://rc.example.com"
SIGNED_IN = AuthConfig(client_id="app", client_secret="hidden-secret", sign_in="one", server_url=SERVER)


class TokenEndpoint:
    """Give `answer` to an httpx transport; `asked` counts, and with `loses_answers` nobody hears them."""

    def __init__(self, clock: FakeClock) -> None:
        rules = TokenRules("app", "hidden-secret", ("ReadCallLog",), 3600, 604_800, 5)
        self.tokens = Tokens(rules, users_of("jwt"))
        self.clock = clock
        self.asked = 0
        self.loses_answers = False

    def sign_in(self) -> StoredToken:
        form = {"grant_type": JWT_GRANT, "assertion": "jwt"}
        token = read_token(self.tokens.grant(form, self._now(), 1.0, refreshable=True))
        assert token is not None
        return stored_token(token, SIGNED_IN.fingerprint, self._now())

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        form = dict(parse_qsl(request.content.decode()))
        try:
            self.tokens.check_client(request.headers["authorization"], form)
            body = self.tokens.grant(form, self._now(), 1.0, refreshable=True)
        except TokenRefused as refusal:
            return httpx.Response(refusal.status, json=refusal.body())
        if self.loses_answers:
            raise httpx.ReadTimeout("lost")
        return httpx.Response(200, json=body)

    def is_accepted(self, token: StoredToken) -> bool:
        """Use a token as the API would see it."""
        session = next((one for one in self.tokens.sessions if one.access_token == token.access_token), None)
        if session is None:
            return False
        session.used_at = session.used_at or self._now()
        return True

    def _now(self) -> datetime:
        return self.clock.now()
