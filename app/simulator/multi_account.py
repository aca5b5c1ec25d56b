"""Several accounts behind one pair of hosts, as at RingCentral: a request's token selects the account."""

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.clock import Clock
from app.simulator.api.app import create_app, create_media_app
from app.simulator.api.pipeline import MAX_BODY_BYTES
from app.simulator.api.sign_in import PATH as AUTHORIZE_PATH
from app.simulator.api.sign_in import authorize_route
from app.simulator.runner import listen, running
from app.simulator.settings import SimulatorSettings
from app.simulator.simulator import Simulator

_OAUTH_PATHS = ("/restapi/oauth/token", "/restapi/oauth/revoke")
_CONTROL = re.compile(r"/_sim/accounts/([0-9]+)(/.*)?")


@asynccontextmanager
async def serving_accounts(
    settings: Sequence[SimulatorSettings], clock: Clock | None = None
) -> AsyncIterator[list[Simulator]]:
    """Serve several accounts on the host and ports of the first settings while the block runs.

    Account ids and JWT credentials must differ. The control API of each account is under
    `/_sim/accounts/<account id>`, that of the first one also under `/_sim`. Yields the simulators in order.
    Raises ValueError if two settings share an account id or a JWT, OSError if a port is in use.
    """
    first = settings[0]
    for name in ("account_id", "jwt"):
        if len({getattr(one, name) for one in settings}) != len(settings):
            raise ValueError(f"each account needs a {name} of its own")
    with contextlib.ExitStack() as sockets:
        platform = sockets.enter_context(listen(first.host, first.port))
        media = sockets.enter_context(listen(first.host, first.media_port))
        addresses = {
            "public_url": first.public_url or f"http://{first.host}:{platform.getsockname()[1]}",
            "media_url": first.media_url or f"http://{first.host}:{media.getsockname()[1]}",
        }
        simulators = [Simulator(one.model_copy(update=addresses), clock=clock) for one in settings]
        router = _AccountRouter(simulators, [create_app(one) for one in simulators])
        media_router = _AccountRouter(simulators, [create_media_app(one) for one in simulators])
        async with running([(router, platform), (media_router, media)], simulators):
            yield simulators


class _AccountRouter:
    """Routes each request to its account, by default to the first one."""

    def __init__(self, simulators: Sequence[Simulator], apps: Sequence[ASGIApp]) -> None:
        self._simulators = simulators
        self._apps = apps
        self._authorize = Starlette(routes=[authorize_route(simulators)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._apps[0](scope, receive, send)
            return
        path = scope["path"]
        control = _CONTROL.fullmatch(path)
        if path == AUTHORIZE_PATH:
            app: ASGIApp = self._authorize
        elif control is not None:
            # The account's app knows its control API as /_sim, without the account.
            app = self._find(lambda one: one.company.account_id == control[1])
            inner = f"/_sim{control[2] or '/'}"
            scope = {**scope, "path": inner, "raw_path": inner.encode()}
        elif path in _OAUTH_PATHS:
            # Only the form identifies the account: the body is read here and replayed to the account's app.
            body = await _read(receive)
            form = dict(parse_qsl(body.decode(errors="replace")))
            receive = _replay(body)
            app = self._find(lambda one: _issued_any(one, form))
        else:
            token = Headers(scope=scope).get("authorization", "").partition(" ")[2]
            app = self._find(lambda one: one.tokens.has_issued(token))
        await app(scope, receive, send)

    def _find(self, fits: Callable[[Simulator], bool]) -> ASGIApp:
        pairs = zip(self._simulators, self._apps, strict=True)
        return next((app for one, app in pairs if fits(one)), self._apps[0])


def _issued_any(simulator: Simulator, form: dict[str, str]) -> bool:
    known = (form.get(name, "") for name in ("refresh_token", "code", "token"))
    return form.get("assertion") in simulator.users or any(map(simulator.tokens.has_issued, known))


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more and len(body) <= MAX_BODY_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
