"""The links of the API description: which requests can follow a response, and with which values of it.

A list links to its first item; the other items are reached in the same way. What the caller chooses, such as
the name of a CRM, is left open. Lists with a `cursor` link to their next page without being named here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_SCHEMAS = "#/components/schemas/"
_WAITING = frozenset({"wait", "last-event-id"})
"""Parameters that say how to read one page, not what is listed."""


def _body(field: str) -> str:
    return f"$response.body#/{field}"


def _first(field: str) -> str:
    return _body(f"data/0/{field}")


def _path(*names: str) -> dict[str, str]:
    return {name: f"$request.path.{name}" for name in names}


@dataclass(frozen=True, slots=True)
class Links:
    """From the successful responses of some operations to others, which get these parameters."""

    sources: tuple[str, ...]
    parameters: Mapping[str, str]
    targets: tuple[str, ...]


_CALL = {"call": _body("id")}
_CALL_OF_PATH = _path("call")
_NOTE_OF_PATH = _path("call", "noteId")
_UNCHANGED = {"If-Match": "$response.header.ETag"}
_ENDPOINT_OF_PATH = _path("endpoint")
_KEY = {"keyId": _body("keyId"), "accountId": _body("accountId")}
_FIRST_KEY = {"keyId": _first("keyId"), "accountId": _first("accountId")}
_ERASURE = {"erasure": _body("id"), "accountId": _body("accountId")}
_FIRST_ERASURE = {"erasure": _first("id"), "accountId": _first("accountId")}

_PARTS_OF_A_CALL = (
    "list_call_changes",
    "list_call_records",
    "list_call_legs",
    "list_call_recordings",
    "get_versions",
    "get_call_insights",
    "add_note",
    "list_notes",
    "put_sentiment",
    "list_sentiments",
    "put_disposition",
    "get_disposition",
    "put_link",
    "list_links",
    "get_projection",
    "put_legal_hold",
)
_OF_A_NOTE = ("get_note", "update_note", "delete_note")
_OF_A_SENTIMENT = ("get_sentiment", "delete_sentiment")
_OF_AN_ENDPOINT = (
    "get_webhook_endpoint",
    "update_webhook_endpoint",
    "delete_webhook_endpoint",
    "rotate_webhook_secret",
    "test_webhook_endpoint",
    "list_webhook_attempts",
    "recover_webhooks",
)
_OF_A_KEY = ("update_key", "revoke_api_key", "list_requests_of_key")
_OF_AN_ERASURE = ("get_erasure", "run_erasure", "get_erasure_receipt", "verify_erasure")
_OF_A_RECORDING = ("get_recording", "get_recording_content", "add_recording_link", "get_recording_links")
_OF_A_VOICEMAIL = ("get_voicemail", "get_voicemail_content", "add_voicemail_link", "get_voicemail_links")

LINKS = (
    # Calls
    Links(("list_calls",), {"call": _first("id")}, ("get_call",)),
    Links(("list_changes",), {"call": _first("callId")}, ("get_call",)),
    Links(("get_conversation",), {"call": _body("mainCallId")}, ("get_call",)),
    Links(("get_call",), _CALL, _PARTS_OF_A_CALL),
    Links(("get_call",), {"conversation": _body("id")}, ("get_conversation",)),
    Links(("get_call",), _CALL | {"version": _body("version")}, ("get_version",)),
    Links(("get_versions",), _CALL_OF_PATH | {"version": _first("version")}, ("get_version",)),
    # Notes, sentiments, dispositions, CRM links
    Links(("add_note",), _CALL_OF_PATH | {"noteId": _body("id")}, _OF_A_NOTE),
    Links(("add_note", "delete_note"), _CALL_OF_PATH, ("list_notes",)),
    Links(("list_notes",), _CALL_OF_PATH | {"noteId": _first("id")}, _OF_A_NOTE),
    Links(("get_note", "update_note"), _NOTE_OF_PATH | _UNCHANGED, ("update_note", "delete_note")),
    Links(
        ("put_sentiment", "get_sentiment"),
        _path("call", "source") | {"madeBy": _body("madeBy")},
        _OF_A_SENTIMENT,
    ),
    Links(("put_sentiment", "delete_sentiment"), _CALL_OF_PATH, ("list_sentiments",)),
    Links(
        ("list_sentiments",),
        _CALL_OF_PATH | {"source": _first("source"), "madeBy": _first("madeBy")},
        _OF_A_SENTIMENT,
    ),
    Links(("put_disposition",), _CALL_OF_PATH, ("get_disposition",)),
    Links(
        ("put_disposition", "get_disposition"),
        _CALL_OF_PATH | _UNCHANGED,
        ("put_disposition", "delete_disposition"),
    ),
    Links(("put_link",), _path("call", "crm"), ("get_link",)),
    Links(("put_link", "get_link"), _path("call", "crm") | _UNCHANGED, ("put_link", "delete_link")),
    Links(("put_link", "delete_link"), _CALL_OF_PATH, ("list_links",)),
    Links(("list_links",), _CALL_OF_PATH | {"crm": _first("crm")}, ("get_link", "delete_link")),
    # Recordings, voicemails, listening links
    Links(("list_call_recordings",), {"recording_id": _first("id")}, _OF_A_RECORDING),
    Links(("get_recording",), {"recording_id": _body("id")}, _OF_A_RECORDING[1:]),
    Links(("get_call",), {"voicemail_id": _body("voicemail/id")}, _OF_A_VOICEMAIL),
    Links(("get_voicemail",), {"voicemail_id": _body("id")}, _OF_A_VOICEMAIL[1:]),
    Links(
        ("add_recording_link",),
        _path("recording_id") | {"link": _body("id")},
        ("revoke_recording_link",),
    ),
    Links(("add_recording_link", "revoke_recording_link"), _path("recording_id"), ("get_recording_links",)),
    Links(
        ("get_recording_links",),
        _path("recording_id") | {"link": _first("id")},
        ("revoke_recording_link",),
    ),
    Links(
        ("add_voicemail_link",),
        _path("voicemail_id") | {"link": _body("id")},
        ("revoke_voicemail_link",),
    ),
    Links(("add_voicemail_link", "revoke_voicemail_link"), _path("voicemail_id"), ("get_voicemail_links",)),
    Links(
        ("get_voicemail_links",),
        _path("voicemail_id") | {"link": _first("id")},
        ("revoke_voicemail_link",),
    ),
    # Webhook endpoints
    Links(("create_webhook_endpoint",), {"endpoint": _body("id")}, _OF_AN_ENDPOINT),
    Links(("list_webhook_endpoints",), {"endpoint": _first("id")}, _OF_AN_ENDPOINT),
    Links(
        ("update_webhook_endpoint", "rotate_webhook_secret", "test_webhook_endpoint", "recover_webhooks"),
        _ENDPOINT_OF_PATH,
        ("get_webhook_endpoint", "list_webhook_attempts"),
    ),
    Links(
        ("list_webhook_attempts",),
        _ENDPOINT_OF_PATH | {"attempt": _first("id")},
        ("resend_webhook",),
    ),
    Links(
        ("resend_webhook",),
        _ENDPOINT_OF_PATH | {"webhookId": _body("webhookId")},
        ("list_webhook_attempts",),
    ),
    # RingCentral's lists and the directory
    Links(("list_call_log",), {"record_id": _body("records/0/id")}, ("get_call_log_record",)),
    Links(
        ("list_extension_call_log",),
        _path("extension_id") | {"record_id": _body("records/0/id")},
        ("get_extension_call_log_record",),
    ),
    Links(("list_extensions",), {"extension": _first("id")}, ("get_extension",)),
    Links(
        ("get_extension",),
        {"extension_id": _body("id")},
        ("list_extension_call_log", "list_extension_active_calls"),
    ),
    # Administration
    Links(
        ("list_accounts",),
        {"account": _first("accountId"), "name": _first("credentials/0/name")},
        ("delete_credentials",),
    ),
    Links(
        ("add_account",),
        {"account": _body("accountId"), "name": _body("credentials/0/name")},
        ("delete_credentials",),
    ),
    Links(("list_accounts",), {"accountId": _first("accountId")}, ("list_api_keys", "list_erasures")),
    Links(("create_api_key",), _KEY, _OF_A_KEY),
    Links(("list_api_keys",), _FIRST_KEY, _OF_A_KEY),
    Links(("update_key",), _KEY, ("revoke_api_key", "list_requests_of_key")),
    Links(("get_me",), {}, ("list_my_requests",)),
    # Privacy
    Links(("plan_erasure",), _ERASURE, _OF_AN_ERASURE),
    Links(("list_erasures",), _FIRST_ERASURE, _OF_AN_ERASURE),
    Links(("get_erasure",), _ERASURE, ("run_erasure", "get_erasure_receipt", "verify_erasure")),
    Links(("run_erasure",), _ERASURE, ("get_erasure", "get_erasure_receipt")),
    Links(("put_legal_hold",), {"call": _body("callId")}, ("get_legal_hold", "delete_legal_hold")),
    Links(("list_legal_holds",), {"call": _first("callId")}, ("get_call", "delete_legal_hold")),
)


def describe_links(description: dict[str, Any]) -> None:
    """Add the links to an API description. Raises KeyError for an operation that it does not have."""
    operations = {
        operation["operationId"]: operation
        for methods in description["paths"].values()
        for operation in methods.values()
    }
    for links in LINKS:
        for target in links.targets:
            _check(operations[target], links.parameters)
            for source in links.sources:
                _add(
                    operations[source], target, {"operationId": target, "parameters": dict(links.parameters)}
                )
    for name, operation in operations.items():
        if _has_pages(operation, description["components"]["schemas"]):
            _add(operation, "next_page", _next_page(name, operation))


def _check(target: dict[str, Any], parameters: Mapping[str, str]) -> None:
    known = {parameter["name"] for parameter in target.get("parameters", ())}
    if not parameters.keys() <= known:
        missing = ", ".join(parameters.keys() - known)
        raise KeyError(f"{target['operationId']} has no parameter {missing}")


def _add(source: dict[str, Any], name: str, link: dict[str, Any]) -> None:
    for response in _successful(source):
        response.setdefault("links", {})[name] = link


def _successful(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (response for status, response in operation["responses"].items() if status.startswith("2"))


def _has_pages(operation: dict[str, Any], schemas: Mapping[str, Any]) -> bool:
    content = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
    model = content.get("schema", {}).get("$ref", "").removeprefix(_SCHEMAS)
    listed = {parameter["name"] for parameter in operation.get("parameters", ())}
    return "cursor" in listed and "nextCursor" in schemas.get(model, {}).get("properties", {})


def _next_page(name: str, operation: dict[str, Any]) -> dict[str, Any]:
    """Return the link to the next page, which is read with the filters of this one."""
    same = {
        one["name"]: f"$request.{one['in']}.{one['name']}"
        for one in operation["parameters"]
        if one["name"] not in _WAITING
    }
    return {
        "operationId": name,
        "parameters": same | {"cursor": _body("nextCursor")},
        "description": "The next page, unless `nextCursor` is null.",
    }
