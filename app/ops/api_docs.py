"""GET /docs: the API description as a page to read and to try out, and the final changes to the description.

Swagger UI is part of the service (see static/vendor), so the page loads nothing from other hosts; its
Content-Security-Policy enforces it. Addresses are relative, so that the page also works below a path of a
proxy.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from app import __version__
from app.api.deprecations import describe_deprecations
from app.api.schemas import show_nulls
from app.ops.api_links import describe_links
from app.ops.dashboard.router import STATIC_PATH
from app.push.api.description import turn_into_requests, webhooks_of_the_description

PATH = "/docs"

_DESCRIPTION = """
From hang-up to enriched call record. RingCentral notifies this service of calls. Connectors read the enriched
record here and attach notes and sentiment, by `sessionId` or `telephonySessionId`, even before the record
exists.

Every error is a problem document (RFC 9457) that says whose fault it is and what to do.
"""
ABOUT: Mapping[str, Any] = {
    "title": "Aftercall",
    "version": __version__,
    "description": _DESCRIPTION,
    "contact": {"name": "Whoever runs this service for you"},
    "license_info": {"name": "MIT", "identifier": "MIT"},
    "servers": [{"url": "/", "description": "The service that this description comes from."}],
}
"""What the description says of the whole API."""

TAGS: list[dict[str, Any]] = [
    {"name": "calls", "description": "Read calls: one, many, or as they change."},
    {"name": "export", "description": "All calls that match, as one stream of lines."},
    {
        "name": "projections",
        "description": "A call as a CRM wants it: the payload to write, and whether it can be written.",
    },
    {
        "name": "call log",
        "description": "RingCentral's own lists, within our rate limit and cached while they are fresh.",
    },
    {
        "name": "recordings",
        "description": "Play a recording: streamed from RingCentral, or from the archive.",
    },
    {
        "name": "voicemails",
        "description": "Play a voicemail and read its transcript.",
    },
    {
        "name": "listening links",
        "description": "Addresses at which a person or a CRM can open a recording or a voicemail.",
    },
    {
        "name": "people",
        "description": "Who the extensions of the account belong to, as its directory lists them.",
    },
    {"name": "changes", "description": "Follow every change of every call, once and in order."},
    {
        "name": "webhook endpoints",
        "description": "Have changes sent to you, signed. The section Webhooks describes each message.",
    },
    {
        "name": "notes and sentiment",
        "description": "Attach what people and CRMs know about a call, even before the call exists here.",
    },
    {"name": "your key", "description": "Which key you use, for which account, and what it may do."},
    {"name": "operations", "description": "How the service is doing. Needs a key with the scope `admin`."},
    {
        "name": "administration",
        "description": "Accounts, their credentials, API keys, and the audit. Needs a key with the scope "
        "`admin`.",
    },
    {
        "name": "privacy",
        "description": "Erase people's data, and keep calls from being deleted. Needs a key with the scope "
        "`admin`.",
    },
    {"name": "health", "description": "For whatever starts and monitors the process."},
    {"name": "problems", "description": "What the `type` of an error means and what to do about it."},
    {"name": "webhooks", "description": "Where RingCentral sends its notifications; not for connectors."},
]
"""The groups of the API, in the order of the page."""

_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_STATIC = STATIC_PATH.removeprefix("/")
_PAGE = f"""\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Aftercall API</title>
  <link rel="icon" href="{_STATIC}/mark.svg?v={__version__}" type="image/svg+xml">
  <link rel="stylesheet" href="{_STATIC}/vendor/swagger-ui/swagger-ui.css?v={__version__}">
  <link rel="stylesheet" href="{_STATIC}/docs.css?v={__version__}">
</head>
<body>
  <main id="api"></main>
  <noscript>The API is described in <a href="openapi.json">openapi.json</a>.</noscript>
  <script src="{_STATIC}/vendor/swagger-ui/swagger-ui-bundle.js?v={__version__}"></script>
  <script src="{_STATIC}/docs.js?v={__version__}"></script>
</body>
</html>
"""

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def show_docs() -> HTMLResponse:
    """Return the page. It needs no key; requests that are tried out on it do."""
    return HTMLResponse(_PAGE, headers=dict(_HEADERS))


_STREAMED = (
    "id: 4711-9f8e7d6c5b4a\n"
    "event: call.bootstrapped\n"
    'data: {"cursor":"4711-9f8e7d6c5b4a","type":"call.bootstrapped",'
    '"callId":"call_01jp0v7s4v8x2m6c9q3t5r7w1e","version":4}\n\n'
)


def name_operation(route: APIRoute) -> str:
    """Return the `operationId` of a route, which generators make the name of a method: its function's."""
    return route.name


def install(app: FastAPI) -> None:
    """Serve the page, and arrange the API description of `app` for it."""
    app.include_router(router)
    app.openapi_tags = TAGS
    plain = app.openapi

    # FastAPI builds the description once and stores it in `openapi_schema`.
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.webhooks.include_router(webhooks_of_the_description())
            app.openapi_schema = show_nulls(plain())
            turn_into_requests(app.openapi_schema)
            _describe_streams(app.openapi_schema)
            describe_deprecations(app.openapi_schema)
            describe_links(app.openapi_schema)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_streams(description: dict[str, Any]) -> None:
    """Describe event streams as OpenAPI 3.1 can: `itemSchema` is a keyword of version 3.2."""
    for operations in description["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                stream = response.get("content", {}).get("text/event-stream")
                if stream is not None:
                    stream["schema"] = {"type": "string", "description": "Server-sent events."}
                    stream["example"] = _STREAMED
