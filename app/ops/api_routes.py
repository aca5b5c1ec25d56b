"""The routers of the API, in the order of its description."""

from app.call_log_api import router as call_log
from app.calls import router as calls
from app.calls.attachments import router as attachments
from app.calls.conversations import router as conversations
from app.calls.feed import router as feed
from app.calls.insights import router as insights
from app.extensions_api import router as extensions
from app.ops import router as ops
from app.ops.accounts import router as accounts
from app.recordings_api import router as recordings
from app.recordings_api import voicemail_router as voicemails

API_ROUTERS = (
    calls.router,
    conversations.router,
    feed.router,
    attachments.router,
    insights.router,
    recordings.router,
    voicemails.router,
    call_log.router,
    extensions.router,
    ops.router,
    accounts.router,
)
"""All of them refuse parameters that they do not know."""
