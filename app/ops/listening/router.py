"""GET /listen/{link}/{signature}: a page with a player, and the audio behind it.

Neither takes an API key: the signature of the address is the right to listen. Where the operator wants it
(AFTERCALL_LISTEN_SIGN_IN), both take a sign-in as the dashboard does, with a key of the link's account.
"""

from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import RedirectResponse, Response

from app.api.dependencies import CurrentServices, Services
from app.calls import accounts
from app.calls.media.audio_links import PATH, AudioLink, LinkSigner, MediaKind, count_use, find_link
from app.enrichment.audio.archived_audio import PlayableAudio
from app.enrichment.audio.byte_ranges import read_range
from app.errors import NotFound, Unauthenticated
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.dashboard.router import CurrentDashboard, Dashboard, is_sent_by_own_page, read_form
from app.ops.dashboard.sign_in import SESSION_HOURS, TooManySignIns
from app.recordings_api.audio_response import FIRST_BYTE, respond, respond_to_head
from app.vault import Vault

router = APIRouter(prefix=PATH, include_in_schema=False)

_PRIVATE = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
}
_CONTENT_SECURITY = (
    "default-src 'none'; media-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_GONE = "This link has expired or was revoked. Ask whoever gave it to you for a new one."
_UNKNOWN = "This link does not exist. It may have been cut off: copy all of it."


async def find_signed(services: CurrentServices, link: str, signature: str) -> AudioLink | None:
    """Return the link of an address, also one that is over; None if the address is none of ours."""
    async with services.database.read() as db:
        found = await find_link(db, link)
    signer = LinkSigner(Vault(services.settings.secrets()[0]))
    return found if found is not None and signer.is_signed(found, signature) else None


SignedLink = Annotated[AudioLink | None, Depends(find_signed)]


@router.get("/{link}/{signature}")
async def show_page(
    request: Request, services: CurrentServices, dashboard: CurrentDashboard, found: SignedLink
) -> Response:
    """Return the page with the player, or one that says why there is none."""
    if found is None:
        return _page(dashboard, 404, refused=_UNKNOWN)
    if not found.is_open(services.clock.now()):
        return _page(dashboard, 410, refused=_GONE)
    if not await _may_listen(request, dashboard, found):
        # A browser that comes from another site does not send its cookie before the page asks once more.
        is_first = "checked" not in request.query_params
        return _page(dashboard, sign_in=request.url.path, is_first=is_first)
    return _page(dashboard, audio=f"{request.url.path}/audio", kind=found.kind.value)


@router.post("/{link}/{signature}")
async def sign_in(
    request: Request, services: CurrentServices, dashboard: CurrentDashboard, found: SignedLink
) -> Response:
    """Exchange an API key for a session of twelve hours, as the dashboard does."""
    if found is None or not found.is_open(services.clock.now()):
        return _page(dashboard, 404 if found is None else 410, refused=_UNKNOWN if found is None else _GONE)
    if not is_sent_by_own_page(request, dashboard):
        return _page(dashboard, 403, sign_in=request.url.path, wrong="Sign in on this page.")
    form = await read_form(request)
    try:
        key = await dashboard.sign_in.try_key(
            form.get("key", ""), request.client.host if request.client else ""
        )
    except TooManySignIns:
        return _page(
            dashboard, 429, sign_in=request.url.path, wrong="Too many sign-ins. Try again in a moment."
        )
    if key is None or not await _is_of_account(services, key.owner, found):
        wrong = "This key is invalid, was revoked, or is not of the account of this link."
        return _page(dashboard, 401, sign_in=request.url.path, wrong=wrong)
    signed_in = RedirectResponse(request.url.path, 303, headers=_PRIVATE)
    signed_in.set_cookie(
        dashboard.sign_in.cookie_name(request),
        dashboard.sign_in.make_cookie(key, services.clock.now()),
        max_age=SESSION_HOURS * 3600,
        secure=dashboard.sign_in.is_https(request),
        httponly=True,
        samesite="strict",
    )
    return signed_in


@router.get("/{link}/{signature}/audio")
async def stream_audio(
    request: Request,
    services: CurrentServices,
    dashboard: CurrentDashboard,
    found: SignedLink,
    byte_range: Annotated[str | None, Header(alias="Range")] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Response:
    """Stream the audio. A request for its beginning counts as a use."""
    link = await _check(request, dashboard, found)
    asked = read_range(byte_range)
    response = await respond(services, None, _open(request, link, asked, if_range), "audio", download=False)
    if asked is None or asked.first == 0:
        async with services.database.write() as db:
            await count_use(db, link, services.clock.now())
    response.headers.update(_PRIVATE)
    return response


@router.head("/{link}/{signature}/audio")
async def head_audio(request: Request, dashboard: CurrentDashboard, found: SignedLink) -> Response:
    """Return the headers of the whole."""
    link = await _check(request, dashboard, found)
    response = await respond_to_head(_open(request, link, FIRST_BYTE, None), "audio", download=False)
    response.headers.update(_PRIVATE)
    return response


async def _check(request: Request, dashboard: Dashboard, found: AudioLink | None) -> AudioLink:
    """Return the link. Raises NotFound if it opens nothing, Unauthenticated if a sign-in is missing."""
    if found is None or not found.is_open(dashboard.services.clock.now()):
        raise NotFound(_UNKNOWN if found is None else _GONE)
    if not await _may_listen(request, dashboard, found):
        raise Unauthenticated("Open the page of this link and sign in")
    return found


def _open(
    request: Request, link: AudioLink, asked: Any, if_range: str | None
) -> AbstractAsyncContextManager[PlayableAudio]:
    process = request.app.state.process
    playback = process.playback if link.kind is MediaKind.RECORDING else process.voicemails
    opening: AbstractAsyncContextManager[PlayableAudio] = playback.open(
        AccountId(link.account_id), link.media_id, asked, if_range
    )
    return opening


async def _may_listen(request: Request, dashboard: Dashboard, link: AudioLink) -> bool:
    if not dashboard.services.settings.listen_sign_in:
        return True
    viewer = await dashboard.sign_in.find_viewer(request)
    # Being on this machine is not enough here: the operator wants a sign-in.
    if viewer is None or viewer.key is None or viewer.account_id is None:
        return False
    return await _is_of_account(dashboard.services, viewer.account_id, link)


async def _is_of_account(services: Services, owner: str, link: AudioLink) -> bool:
    if owner == UNBOUND_ACCOUNT:
        async with services.database.read() as db:
            owner = await accounts.resolve(db, UNBOUND_ACCOUNT)
    return owner == link.account_id


def _page(dashboard: Dashboard, status: int = 200, **values: Any) -> Response:
    names = ("audio", "kind", "sign_in", "is_first", "wrong", "refused")
    page = dashboard.page("listen.html", status, **dict.fromkeys(names) | values)
    page.headers.update(_PRIVATE | {"Content-Security-Policy": _CONTENT_SECURITY})
    return page
