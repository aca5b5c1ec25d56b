"""Settings of outbound webhooks; see `app.settings`."""

import ipaddress

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings


class PushSettings(BaseSettings):
    """Where outbound webhooks may lead, and how long attempts are kept."""

    push_allow_http: bool = Field(
        False,
        description="Allow webhook endpoints with http:// addresses. Their payloads can be read on the way.",
    )
    push_allow_networks: str | None = Field(
        None,
        description="Networks that are not public and to which webhooks may be sent all the same, separated "
        "by commas: `10.20.0.0/16,127.0.0.1`.",
    )
    retention_attempts_days: float = Field(
        30.0, gt=0, description="How long the attempts to send webhooks are kept, without what was sent."
    )

    @field_validator("push_allow_networks")
    @classmethod
    def _networks(cls, value: str | None) -> str | None:
        for one in (value or "").split(","):
            if one.strip():
                try:
                    ipaddress.ip_network(one.strip())
                except ValueError as error:
                    raise ValueError(f"{error}: write networks as in 10.20.0.0/16") from error
        return value
