"""The settings of what connectors may do, which `app.settings` inherits."""

from app.values.key_settings import KeySettings
from app.values.push_settings import PushSettings


class ConnectorSettings(KeySettings, PushSettings):
    """API keys, and outbound webhooks."""
