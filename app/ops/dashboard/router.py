"""The dashboard: a page that is complete when it is loaded, and a stream that keeps it up to date.

GET /dashboard, GET /dashboard/events (Server-Sent Events), sign-in and sign-out. The page loads nothing from
other hosts and runs no inline script; its Content-Security-Policy enforces it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.staticfiles import StaticFiles

from app import __version__, metrics
from app.api.dependencies import Services
from app.db.engine import wake
from app.errors import BadInput, PayloadTooLarge, StorageUnavailable
from app.ops.dashboard.board import Boards
from app.ops.dashboard.page import PageRows, describe_page, template_values
from app.ops.dashboard.sign_in import (
    LONGEST_FORM_BYTES,
    RETRY_SECONDS,
    SESSION_HOURS,
    SignIn,
    TooManySignIns,
    Viewer,
    is_own_page,
)
from app.ops.figures.retention import describe_rules
from app.ops.problems.model import Subject
from app.retention.rules import retention_rules
from app.values.exact_json import write_json
from app.vault import Vault
from app.work.wakeups import KEYS, REFUSALS, TIMELINE, wait

PATH = "/dashboard"
STATIC_PATH = f"{PATH}/static"
_HERE = Path(__file__).parent
_SHORTEST_GAP_SECONDS = 0.25
_REFRESH_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 15.0
_RECHECK_SECONDS = 60.0
_RETRY_REFUSED_SECONDS = 60.0
_MOST_FIELDS = 8

_WRONG_KEY = "This key is invalid, was revoked, or may not read calls."
_TOO_MANY = (
    "Too many sign-ins with wrong keys at the moment. Your key was not checked: wait a moment and try again."
)
_FOREIGN_PAGE = "This form was sent from another page. Sign in here."

_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Dashboard:
    """What the dashboard's routes share: `app.state.dashboard`. It needs no closing.

    Raises SettingsError when there is no secret key to sign cookies with.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.boards = Boards(services.database, services.settings, services.clock)
        self.sign_in = SignIn(services, Vault(services.settings.secrets()[0]))
        self.kept = describe_rules(retention_rules(services.settings))
        self._retried_at: float | None = None
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {"version": __version__, "static": STATIC_PATH, "path": PATH}

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Render a page with the headers that all of them need."""
        content = self._templates.get_template(template).render(**values)
        return HTMLResponse(content, status, headers=dict(_HEADERS))

    def headers(self) -> dict[str, str]:
        """Return the headers of every response to a browser."""
        return dict(_HEADERS)

    async def board(self, viewer: Viewer, *, unmasked: bool) -> PageRows:
        """Return everything that the page shows. Raises StorageUnavailable."""
        snapshot = await self.boards.of(viewer.account_id, oversees=viewer.oversees).snapshot()
        if any(problem.about is Subject.CREDENTIALS for problem in snapshot.summary.problems):
            await self._retry_refused()
        return describe_page(snapshot, self.services.settings, unmasked=unmasked and viewer.may_unmask)

    async def _retry_refused(self) -> None:
        """Wake the loop that retries refused credentials: a person is looking at the problem."""
        now = self.services.clock.monotonic()
        if self._retried_at is not None and now - self._retried_at < _RETRY_REFUSED_SECONDS:
            return
        self._retried_at = now
        async with self.services.database.write() as db:
            wake(db, REFUSALS)

    async def follow(self, request: Request, viewer: Viewer, *, unmasked: bool) -> AsyncIterator[bytes]:
        """Stream changes as Server-Sent Events until the viewer leaves, or may no longer see the dashboard.

        Each message has the entries of `board` that differ from those sent before, so the first one is
        complete.
        """
        clock, stopping = self.services.clock, self.services.stopping
        sent: dict[str, Any] = {}
        sent_at = checked_at = clock.monotonic()
        yield b"retry: 2000\n\n"
        with (
            self.services.wakeups.listen(TIMELINE, KEYS) as woken,
            self._watch(viewer),
            metrics.STREAMS.track_inprogress(),
        ):
            while not stopping.is_set():
                # The key of a session is looked up again from time to time, in case a revocation was missed.
                is_due = clock.monotonic() - checked_at > _RECHECK_SECONDS
                if is_due:
                    checked_at = clock.monotonic()
                if await self._is_revoked(viewer) or (is_due and not await self._is_still_allowed(request)):
                    yield b"event: signed-out\ndata: {}\n\n"
                    return
                message = await self._message(viewer, sent, unmasked=unmasked)
                if message or clock.monotonic() - sent_at > _KEEP_ALIVE_SECONDS:
                    sent_at = clock.monotonic()
                    yield message or b": still here\n\n"
                # Wake-ups come in bursts while calls end: gather some before the next message.
                await clock.sleep(_SHORTEST_GAP_SECONDS)
                await wait(woken, _REFRESH_SECONDS - _SHORTEST_GAP_SECONDS)

    async def _message(self, viewer: Viewer, sent: dict[str, Any], *, unmasked: bool) -> bytes:
        try:
            board: Mapping[str, Any] = await self.board(viewer, unmasked=unmasked)
        except StorageUnavailable:
            # The page keeps its last figures; only the headline says that they are old.
            board = sent | {"headline": "The database does not respond. Events are refused until it does."}
        changed = {name: value for name, value in board.items() if sent.get(name) != value}
        if not changed:
            return b""
        # The time is not part of the comparison: it would make every message differ.
        sent.update(changed)
        now = int(self.services.clock.now().timestamp() * 1000)
        return b"event: board\ndata: " + write_json({"now": now, **changed}) + b"\n\n"

    def _watch(self, viewer: Viewer) -> AbstractContextManager[None]:
        return nullcontext() if viewer.key is None else self.services.revocations.watch(viewer.key)

    async def _is_revoked(self, viewer: Viewer) -> bool:
        return viewer.key is not None and await self.services.revocations.is_revoked(viewer.key)

    async def _is_still_allowed(self, request: Request) -> bool:
        try:
            return await self.sign_in.find_viewer(request) is not None
        except StorageUnavailable:
            # An outage must not sign anyone out.
            return True


def static_files() -> StaticFiles:
    """Return the app to mount at STATIC_PATH."""
    return StaticFiles(directory=_HERE / "static")


async def current_dashboard(request: Request) -> Dashboard:
    """Return the dashboard of this app, created by the first request."""
    state = request.app.state
    if not hasattr(state, "dashboard"):
        state.dashboard = Dashboard(state.services)
    dashboard: Dashboard = state.dashboard
    return dashboard


CurrentDashboard = Annotated[Dashboard, Depends(current_dashboard)]
router = APIRouter(prefix=PATH, include_in_schema=False)


@router.get("")
async def show_dashboard(request: Request, dashboard: CurrentDashboard) -> Response:
    """Return the page, or redirect to the sign-in."""
    try:
        viewer = await dashboard.sign_in.find_viewer(request)
        if viewer is None:
            return RedirectResponse(f"{PATH}/sign-in", 303, headers=dict(_HEADERS))
        board = await dashboard.board(viewer, unmasked=False)
    except StorageUnavailable:
        return dashboard.page("unavailable.html", 503)
    now = dashboard.services.clock.now()
    return dashboard.page("dashboard.html", viewer=viewer, kept=dashboard.kept, **template_values(board, now))


@router.get("/events")
async def stream_events(
    request: Request, dashboard: CurrentDashboard, numbers: Annotated[str, Query(max_length=8)] = "masked"
) -> Response:
    """Stream changes as Server-Sent Events; `numbers=full` needs a sign-in."""
    viewer = await dashboard.sign_in.find_viewer(request)
    if viewer is None:
        return Response(status_code=401, headers=dict(_HEADERS))
    return StreamingResponse(
        dashboard.follow(request, viewer, unmasked=numbers == "full"),
        media_type="text/event-stream",
        headers={**_HEADERS, "X-Accel-Buffering": "no"},
    )


@router.get("/sign-in")
async def show_sign_in(dashboard: CurrentDashboard) -> Response:
    """Return the sign-in form."""
    return dashboard.page("sign_in.html", refused=None)


@router.post("/sign-in")
async def sign_in(request: Request, dashboard: CurrentDashboard) -> Response:
    """Exchange an API key for a session of twelve hours."""
    if not is_sent_by_own_page(request, dashboard):
        return dashboard.page("sign_in.html", 403, refused=_FOREIGN_PAGE)
    form = await read_form(request)
    client = request.client.host if request.client else ""
    try:
        key = await dashboard.sign_in.try_key(form.get("key", ""), client)
    except TooManySignIns:
        response = dashboard.page("sign_in.html", 429, refused=_TOO_MANY)
        response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response
    except StorageUnavailable:
        return dashboard.page("unavailable.html", 503)
    if key is None:
        return dashboard.page("sign_in.html", 401, refused=_WRONG_KEY)
    signed_in = RedirectResponse(PATH, 303, headers=dict(_HEADERS))
    signed_in.set_cookie(
        dashboard.sign_in.cookie_name(request),
        dashboard.sign_in.make_cookie(key, dashboard.services.clock.now()),
        max_age=SESSION_HOURS * 3600,
        secure=dashboard.sign_in.is_https(request),
        httponly=True,
        samesite="strict",
    )
    return signed_in


@router.post("/sign-out")
async def sign_out(request: Request, dashboard: CurrentDashboard) -> Response:
    """End the session of this browser."""
    response = RedirectResponse(PATH, 303, headers=dict(_HEADERS))
    if is_sent_by_own_page(request, dashboard):
        response.delete_cookie(
            dashboard.sign_in.cookie_name(request),
            secure=dashboard.sign_in.is_https(request),
            httponly=True,
            samesite="strict",
        )
    return response


def is_sent_by_own_page(request: Request, dashboard: Dashboard) -> bool:
    """Whether a form was sent from a page of ours."""
    return is_own_page(request.headers, request.url.netloc, dashboard.services.settings.public_url)


async def read_form(request: Request) -> dict[str, str]:
    """Read a short urlencoded form; the first value of a repeated field counts."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        # Before the whole body is read: nobody has signed in yet.
        if len(body) > LONGEST_FORM_BYTES:
            raise PayloadTooLarge(f"This form has at most {LONGEST_FORM_BYTES} bytes")
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise BadInput(f"This form has at most {_MOST_FIELDS} fields") from error
    return {name: values[0].strip() for name, values in fields.items()}
