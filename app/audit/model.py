"""What an entry of the audit says. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class AuditAction(StrEnum):
    """What was done, as entries name it: the kind of thing, and what happened to it."""

    KEY_CREATED = "api-key.created"
    KEY_CHANGED = "api-key.changed"
    KEY_REVOKED = "api-key.revoked"
    CREDENTIALS_ADDED = "credentials.added"
    CREDENTIALS_REMOVED = "credentials.removed"
    INVITATION_CREATED = "invitation.created"
    ACCOUNT_BOUND = "account.bound"
    ENDPOINT_CREATED = "webhook-endpoint.created"
    ENDPOINT_CHANGED = "webhook-endpoint.changed"
    ENDPOINT_DISABLED = "webhook-endpoint.disabled"
    ENDPOINT_ENABLED = "webhook-endpoint.enabled"
    ENDPOINT_DELETED = "webhook-endpoint.deleted"
    ENDPOINT_SECRET_ROTATED = "webhook-endpoint.secret-rotated"  # noqa: S105 - a word
    ENDPOINT_RECOVERED = "webhook-endpoint.recovered"
    LINK_CREATED = "listening-link.created"
    LINK_REVOKED = "listening-link.revoked"
    ERASURE_PLANNED = "erasure.planned"
    ERASURE_STARTED = "erasure.started"
    ERASURE_DONE = "erasure.done"
    HOLD_PLACED = "legal-hold.placed"
    HOLD_ENDED = "legal-hold.ended"
    SECRETS_ROTATED = "secrets.rotated"
    SETTINGS_CHANGED = "settings.changed"


class AuditOutcome(StrEnum):
    """What came of it. `REFUSED`: nothing was changed, and the response was an error of the caller's."""

    DONE = "done"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class ActorKind(StrEnum):
    """Who can change something."""

    API_KEY = "apiKey"
    COMMAND = "command"
    SIGN_IN = "signIn"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something. `key_id`: of an API key."""

    kind: ActorKind
    key_id: str | None = None


COMMAND = Actor(ActorKind.COMMAND)
"""A person with a command line on a machine of the service."""

SIGN_IN = Actor(ActorKind.SIGN_IN)
"""A person who signed in with RingCentral, from the dashboard or by an invitation."""

SERVICE = Actor(ActorKind.SERVICE)
"""The service itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of `audit_entries`.

    `target`: the id of the thing, or the name of credentials. `details`: ids, counts and words of ours;
    neither secrets nor what people wrote.
    """

    account_id: str
    entry_id: str
    at: datetime
    action: str
    outcome: str
    actor: str
    key_id: str | None
    target: str | None
    request_id: str | None
    details: dict[str, Any]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that differ, each as `from` and `to`."""
    return {
        name: {"from": before.get(name), "to": value}
        for name, value in after.items()
        if before.get(name) != value
    }
