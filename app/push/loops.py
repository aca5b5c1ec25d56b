"""The background work of outbound webhooks."""

from collections.abc import Iterator

from app.clock import Clock
from app.push.rules import address_rules
from app.push.sending.client import WebhookClient
from app.push.sending.sender import Sender
from app.push.sending.turns import ANY_DUE
from app.push.spreading.spread import ANY_BEHIND
from app.push.spreading.spreader import Spreader
from app.settings import Settings
from app.vault import Vault
from app.work import wakeups
from app.work.context import WorkContext
from app.work.lookout import LOOKS
from app.work.loops import Loop


def open_webhook_client(settings: Settings, clock: Clock) -> WebhookClient:
    """Return the client of a process; use it as a context manager."""
    return WebhookClient(address_rules(settings), clock)


def push_loops(
    context: WorkContext, settings: Settings, vault: Vault, client: WebhookClient
) -> Iterator[Loop]:
    """Yield the loops of a worker."""
    idle = settings.step_seconds * LOOKS
    spreading = Spreader(context)
    yield Loop("push", spreading.step, (wakeups.TIMELINE,), idle, spreading.close, is_due=ANY_BEHIND)
    sending = Sender(context, vault, client)
    yield Loop("webhooks", sending.step, (wakeups.PUSH,), idle, sending.close, is_due=ANY_DUE)
