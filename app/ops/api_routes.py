"""The routers of the API, in the order of its description."""

from app.call_log_api import router as call_log
from app.calls import router as calls
from app.calls.attachments import router as attachments
from app.calls.attachments.batch import router as attachment_batches
from app.calls.conversations import router as conversations
from app.calls.feed import router as feed
from app.calls.history import router as history
from app.calls.insights import router as insights
from app.exports import router as exports
from app.extensions_api import router as extensions
from app.ops import router as ops
from app.ops.accounts import me
from app.ops.accounts import router as accounts
from app.ops.audit import router as audit
from app.ops.privacy import erasures, legal_holds
from app.projections import router as projections
from app.push.api import attempts_router as webhook_attempts
from app.push.api import endpoints_router as webhook_endpoints
from app.recordings_api import links_router as links
from app.recordings_api import router as recordings
from app.recordings_api import voicemail_router as voicemails

API_ROUTERS = (
    calls.router,
    history.router,
    conversations.router,
    exports.router,
    projections.router,
    feed.router,
    webhook_endpoints.router,
    webhook_attempts.router,
    attachments.router,
    attachment_batches.router,
    insights.router,
    recordings.router,
    voicemails.router,
    links.router,
    call_log.router,
    extensions.router,
    me.router,
    ops.router,
    accounts.router,
    audit.router,
    erasures.router,
    legal_holds.router,
)
"""All of them refuse parameters that they do not know."""
