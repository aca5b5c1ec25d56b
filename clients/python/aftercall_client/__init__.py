"""The client of Aftercall: calls of RingCentral, enriched, for CRM connectors. `README.md` shows the loop."""

from aftercall_client import models
from aftercall_client.async_client import AsyncAftercall
from aftercall_client.errors import (
    AftercallError,
    AmbiguousCall,
    Busy,
    CallErased,
    CursorExpired,
    CursorLost,
    Forbidden,
    HistoryChanged,
    Invalid,
    NotFound,
    PreconditionFailed,
    Problem,
    ServiceFailed,
    Unauthenticated,
    Unreachable,
    is_temporary,
)
from aftercall_client.sync_client import Aftercall
from aftercall_client.webhooks import Webhook, WebhookRejected, sign

__all__ = [
    "Aftercall",
    "AftercallError",
    "AmbiguousCall",
    "AsyncAftercall",
    "Busy",
    "CallErased",
    "CursorExpired",
    "CursorLost",
    "Forbidden",
    "HistoryChanged",
    "Invalid",
    "NotFound",
    "PreconditionFailed",
    "Problem",
    "ServiceFailed",
    "Unauthenticated",
    "Unreachable",
    "Webhook",
    "WebhookRejected",
    "is_temporary",
    "models",
    "sign",
]
