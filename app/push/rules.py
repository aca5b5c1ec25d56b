"""The rules of addresses, from the settings."""

from app.push.sending.address_rules import AddressRules, read_networks
from app.settings import Settings


def address_rules(settings: Settings) -> AddressRules:
    """Return to which addresses webhooks may be sent."""
    return AddressRules(settings.push_allow_http, read_networks(settings.push_allow_networks or ""))
