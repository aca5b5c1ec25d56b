"""The two hosts of RingCentral: their resources, and what each of them requires."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from app.simulator.api.calls import (
    delete_call_log,
    extract_sync_call_log,
    list_active_calls,
    list_call_log,
    read_call_records,
    read_recording,
    read_recording_content,
    read_telephony_session,
    sync_call_log,
)
from app.simulator.api.control import control_routes
from app.simulator.api.directory import list_directory, list_extensions, read_account, read_extension
from app.simulator.api.insights import read_record_insights, read_session_insights
from app.simulator.api.pipeline import Resource, request_id, route
from app.simulator.api.sign_in import authorize_route
from app.simulator.api.subscriptions import (
    create_subscription,
    delete_subscription,
    list_subscriptions,
    read_subscription,
    renew_subscription,
    update_subscription,
)
from app.simulator.api.tokens import revoke_request, token_request, token_route
from app.simulator.api.voicemails import read_message, read_message_content
from app.simulator.platform import rate_limits as limits
from app.simulator.platform.errors import Refused
from app.simulator.scripting.company import (
    ACCESS_INSIGHTS,
    READ_CALL_LOG,
    READ_CALL_RECORDING,
    READ_COMPANY_CALL_LOG,
    READ_EXTENSIONS,
    READ_MESSAGES,
)
from app.simulator.simulator import Simulator

API = "/restapi/v1.0"

_ACCOUNT = f"{API}/account/{{account}}"
_EXTENSION = f"{_ACCOUNT}/extension/{{extension}}"
_LOG = {"group": limits.HEAVY, "scope": "ReadCallLog"}
_COMPANY_LOG = _LOG | {"permission": READ_COMPANY_CALL_LOG}
_OWN_LOG = _LOG | {"permission": READ_CALL_LOG}
_RECORDING = {"group": limits.HEAVY, "scope": "ReadCallRecording", "permission": READ_CALL_RECORDING}

_DOMAIN = "/ai/ringsense/v1/public/accounts/{account}/domains/{domain}"
_INSIGHTS = {"group": limits.LIGHT, "scope": "RingSense", "permission": ACCESS_INSIGHTS}

_MESSAGE = f"{_EXTENSION}/message-store/{{message}}"
_MESSAGES = {"scope": READ_MESSAGES, "permission": READ_MESSAGES}
_MESSAGE_CONTENT = Resource(
    "GET", f"{_MESSAGE}/content/{{attachment}}", read_message_content, limits.MEDIUM, **_MESSAGES
)
_CONTENT = Resource(
    "GET", f"{_ACCOUNT}/recording/{{recording}}/content", read_recording_content, **_RECORDING
)

RESOURCES: tuple[Resource, ...] = (
    Resource("GET", f"{_ACCOUNT}/active-calls", list_active_calls, **_COMPANY_LOG),
    Resource("GET", f"{_EXTENSION}/active-calls", list_active_calls, **_OWN_LOG),
    Resource("GET", f"{_ACCOUNT}/call-log", list_call_log, **_COMPANY_LOG),
    Resource("GET", f"{_EXTENSION}/call-log", list_call_log, **_OWN_LOG),
    Resource("DELETE", f"{_EXTENSION}/call-log", delete_call_log, limits.HEAVY, "EditCallLog"),
    Resource("GET", f"{_ACCOUNT}/call-log/{{records}}", read_call_records, **_COMPANY_LOG),
    Resource("GET", f"{_EXTENSION}/call-log/{{records}}", read_call_records, **_OWN_LOG),
    Resource("GET", f"{_ACCOUNT}/call-log-sync", sync_call_log, **_COMPANY_LOG),
    Resource("GET", f"{_EXTENSION}/call-log-sync", sync_call_log, **_OWN_LOG),
    Resource("GET", f"{_ACCOUNT}/call-log-extract-sync", extract_sync_call_log, **_COMPANY_LOG),
    Resource("GET", f"{_ACCOUNT}/recording/{{recording}}", read_recording, **_RECORDING),
    _CONTENT,
    Resource("GET", _MESSAGE, read_message, limits.LIGHT, **_MESSAGES),
    _MESSAGE_CONTENT,
    Resource("GET", f"{_DOMAIN}/sessions/{{session}}/insights", read_session_insights, **_INSIGHTS),
    Resource("GET", f"{_DOMAIN}/records/{{recording}}/insights", read_record_insights, **_INSIGHTS),
    Resource(
        "GET",
        f"{_ACCOUNT}/telephony/sessions/{{session}}",
        read_telephony_session,
        limits.LIGHT,
        "CallControl",
    ),
    Resource("GET", _ACCOUNT, read_account, limits.LIGHT, "ReadAccounts"),
    Resource("GET", f"{_ACCOUNT}/directory/entries", list_directory, limits.MEDIUM, "ReadAccounts"),
    Resource("GET", f"{_ACCOUNT}/extension", list_extensions, limits.MEDIUM, "ReadAccounts", READ_EXTENSIONS),
    Resource("GET", _EXTENSION, read_extension, limits.LIGHT, "ReadAccounts"),
    Resource("GET", f"{API}/subscription", list_subscriptions, limits.LIGHT),
    Resource("POST", f"{API}/subscription", create_subscription, limits.MEDIUM),
    Resource("GET", f"{API}/subscription/{{subscription}}", read_subscription, limits.LIGHT),
    Resource("PUT", f"{API}/subscription/{{subscription}}", update_subscription, limits.MEDIUM),
    Resource("DELETE", f"{API}/subscription/{{subscription}}", delete_subscription, limits.MEDIUM),
    Resource("POST", f"{API}/subscription/{{subscription}}/renew", renew_subscription, limits.LIGHT),
)


def _refuse_unknown(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    code, message = ("CMN-120", "Invalid URI") if status == 404 else ("CMN-104", "Method is not allowed")
    body = Refused(status, code, message).body()
    return JSONResponse(body, status, {"RCRequestId": request_id()})


def create_app(simulator: Simulator) -> Starlette:
    """Return the ASGI app of the platform host, with the control API under `/_sim`."""
    routes: list[BaseRoute] = [
        token_route(simulator, "/restapi/oauth/token", token_request),
        token_route(simulator, "/restapi/oauth/revoke", revoke_request),
        authorize_route([simulator]),
        *(route(simulator, resource) for resource in RESOURCES),
        *control_routes(simulator),
    ]
    return Starlette(routes=routes, exception_handlers=_HANDLERS)


def create_media_app(simulator: Simulator) -> Starlette:
    """Return the ASGI app of the media host, which serves the content of recordings and messages only."""
    routes = [route(simulator, resource) for resource in (_CONTENT, _MESSAGE_CONTENT)]
    return Starlette(routes=routes, exception_handlers=_HANDLERS)


_HANDLERS = {404: _refuse_unknown, 405: _refuse_unknown}
