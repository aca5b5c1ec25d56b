"""What GET /v1/audit returns."""

from typing import Any

from pydantic import ConfigDict, Field

from app.api.schemas import Instant, Page
from app.audit.model import Actor, ActorKind, AuditAction, AuditOutcome, Entry
from app.ops.schemas import ResponseModel

ENTRY_ID = "audit_01kdv6x3q8m7a2c5e9r4t1y6wz"
KEY_ID = "key_01kdv6x3q8m7a2c5e9r4t1y6wz"


class AuditActor(ResponseModel):
    """Who did something."""

    kind: ActorKind = Field(
        description="`apiKey`; `command`: somebody with the command line; `signIn`: a person who signed in "
        "with RingCentral; `service`: the service itself."
    )
    key_id: str | None = Field(description="Of an API key; null for anybody else.", examples=[KEY_ID])


class AuditEntry(ResponseModel):
    """One change, or a request to make one that was refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ENTRY_ID,
                    "at": "2026-03-10T18:00:00.000Z",
                    "accountId": "908070001",
                    "action": "api-key.created",
                    "outcome": "done",
                    "actor": {"kind": "apiKey", "keyId": "key_first"},
                    "target": KEY_ID,
                    "requestId": "5f3a9c0d1e2b4a68",
                    "details": {
                        "scopes": ["calls:read", "notes:write"],
                        "origins": ["https://crm.example.com"],
                        "requestsPerMinute": 600,
                    },
                }
            ]
        }
    )

    id: str
    at: Instant
    account_id: str = Field(
        description="Of what was changed; `~` is the service's own. Of a refused request, that of its key."
    )
    action: AuditAction
    outcome: AuditOutcome = Field(
        description="`unchanged`: it was so already. `refused`: nothing was changed, see `details`."
    )
    actor: AuditActor
    target: str | None = Field(
        description="The id of the key, endpoint, link, erasure or call, or the name of the credentials."
    )
    request_id: str | None = Field(description="The `X-Request-Id` of the request; null without one.")
    details: dict[str, Any] = Field(
        description="What was changed, by action: ids, numbers and settings, neither secrets nor texts."
    )


class AuditEntries(Page[AuditEntry]):
    """Entries of the audit, newest first."""


def show_entry(entry: Entry) -> AuditEntry:
    """Return an entry as the API shows it."""
    return AuditEntry(
        id=entry.entry_id,
        at=entry.at,
        account_id=entry.account_id,
        action=AuditAction(entry.action),
        outcome=AuditOutcome(entry.outcome),
        actor=AuditActor.model_validate(Actor(ActorKind(entry.actor), entry.key_id)),
        target=entry.target,
        request_id=entry.request_id,
        details=entry.details,
    )
