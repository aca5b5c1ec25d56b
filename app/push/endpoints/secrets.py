"""The secrets of an endpoint: made, rotated, and stored encrypted."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.push.payloads.signatures import secret_key, secret_text
from app.vault import Vault

OVERLAP = timedelta(hours=24)
"""How long a secret that was replaced still signs, beside the new one."""

_BYTES = 32
_MOST = 5


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret as it is shown, `whsec_…`, and until when it signs; None: until it is replaced."""

    text: str = field(repr=False)
    until: datetime | None = None


def new_secret() -> Secret:
    """Return a random secret."""
    return Secret(secret_text(secrets.token_bytes(_BYTES)))


def replaced(known: Sequence[Secret], new: Secret, now: datetime) -> list[Secret]:
    """Return the secrets after a rotation, the new one first. Those that are replaced sign for a day more."""
    until = now + OVERLAP
    kept = [one for one in known if one.until is None or one.until > now]
    ended = [Secret(one.text, min(one.until or until, until)) for one in kept]
    return [new, *ended][:_MOST]


def keys_at(known: Sequence[Secret], now: datetime) -> list[bytes]:
    """Return the keys with which a message is signed now."""
    return [secret_key(one.text) for one in known if one.until is None or one.until > now]


def seal(vault: Vault, known: Sequence[Secret]) -> bytes:
    """Return secrets as they are stored."""
    rows = [{"secret": one.text, "until": one.until.isoformat() if one.until else None} for one in known]
    return vault.encrypt(json.dumps(rows).encode())


def unseal(vault: Vault, stored: bytes) -> list[Secret]:
    """Read what `seal` wrote. Raises InvalidToken if none of our keys can."""
    return [
        Secret(row["secret"], datetime.fromisoformat(row["until"]) if row["until"] else None)
        for row in json.loads(vault.decrypt(stored))
    ]
