"""The settings of API keys and of the audit, which `app.settings` inherits."""

from pydantic import Field
from pydantic_settings import BaseSettings


class KeySettings(BaseSettings):
    """How many requests a key may send, and how long it is kept who changed what."""

    key_requests_per_minute: int = Field(
        6000,
        ge=0,
        le=1_000_000,
        description="How many requests an API key may send to one process in a minute. 0: no limit.",
    )
    key_burst_seconds: float = Field(
        10.0,
        ge=1,
        le=600,
        description="A key that was idle may send the requests of this many seconds at once.",
    )
    retention_audit_days: float = Field(
        730.0, gt=0, description="How long entries of the audit are kept: who changed what."
    )
