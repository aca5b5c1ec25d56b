"""The sign-in page of the authorization code flow: a click on a name signs in as that user and consents."""

from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app.simulator.scripting.company import User
from app.simulator.simulator import Simulator

PATH = "/restapi/oauth/authorize"
_PARAMETERS = (
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "code_challenge",
    "code_challenge_method",
)


def authorize_route(simulators: Sequence[Simulator]) -> Route:
    """Return the route of the sign-in page for the users of these accounts.

    Without `sim_user` it returns a page of links. With it (`<account>*<extension number>`, or `nobody`) it
    redirects the browser at once, as after a click.
    """

    async def endpoint(request: Request) -> Response:
        return _answer(simulators, request)

    return Route(PATH, endpoint, methods=["GET"])


def _answer(simulators: Sequence[Simulator], request: Request) -> Response:
    asked = {name: request.query_params.get(name, "") for name in _PARAMETERS}
    error = _find_error(simulators[0], asked)
    # Shown to the user, never sent to the redirect_uri, which may not belong to the application.
    if error is not None:
        return HTMLResponse(f"<h1>RingCentral (simulated)</h1><p>{escape(error)}</p>", 400)
    chosen = request.query_params.get("sim_user")
    if chosen is None:
        return HTMLResponse(_page(simulators, asked))
    if chosen == "nobody":
        return _redirect(asked, error="access_denied", error_description="The user did not consent")
    found = next((one for one in _users(simulators) if one[0] == chosen), None)
    if found is None:
        return HTMLResponse("<h1>RingCentral (simulated)</h1><p>Unknown user.</p>", 400)
    _, simulator, user = found
    code = simulator.tokens.issue_code(
        user, asked["redirect_uri"], asked["code_challenge"] or None, simulator.now(), simulator.clock.speed
    )
    return _redirect(asked, code=code)


def _find_error(simulator: Simulator, asked: dict[str, str]) -> str | None:
    if asked["client_id"] != simulator.settings.client_id:
        return "OAU-153: no application has this client_id."
    if asked["response_type"] != "code":
        return "OAU-126: response_type must be code."
    if urlsplit(asked["redirect_uri"]).scheme not in ("http", "https"):
        return "OAU-109: the redirect_uri is not registered for the application."
    if asked["code_challenge"] and asked["code_challenge_method"] != "S256":
        return "OAU-104: only S256 is supported."
    return None


def _redirect(asked: dict[str, str], **result: str) -> Response:
    query = urlencode({**result, "state": asked["state"]})
    separator = "&" if urlsplit(asked["redirect_uri"]).query else "?"
    return RedirectResponse(f"{asked['redirect_uri']}{separator}{query}", 302)


def _users(simulators: Sequence[Simulator]) -> list[tuple[str, Simulator, User]]:
    return [
        (f"{one.company.account_id}*{_number(one, user)}", one, user)
        for one in simulators
        for user in one.users.values()
    ]


def _number(simulator: Simulator, user: User) -> str:
    extension = simulator.company.extension(user.extension_id)
    return user.extension_id if extension is None else extension.number


def _page(simulators: Sequence[Simulator], asked: dict[str, str]) -> str:
    def link(name: str, text: str) -> str:
        address = f"{PATH}?{urlencode({**asked, 'sim_user': name})}"
        return f'<li><a href="{escape(address)}">{escape(text)}</a></li>'

    links = [link(name, _describe(simulator, user)) for name, simulator, user in _users(simulators)]
    return (
        "<!doctype html><title>RingCentral (simulated)</title><h1>Sign in as</h1>"
        f"<ul>{''.join(links)}{link('nobody', 'Decline')}</ul>"
    )


def _describe(simulator: Simulator, user: User) -> str:
    extension = simulator.company.extension(user.extension_id)
    name = user.extension_id if extension is None else extension.name
    rights = (
        "can see the company"
        if "ReadCompanyCallLog" in user.permissions
        else "can see the own extension only"
    )
    return f"{name}, account {simulator.company.account_id}: {rights}"
