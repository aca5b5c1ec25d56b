"""What RingCentral's JSON means to us, read leniently. Pure.

Any field may be missing, ids come as numbers or as text, enumerations grow, times come in several spellings
(API description 1.0.46, guides "Call log" and "Creating webhooks"). So an unknown word passes through, an
unreadable value is None, and `raw` keeps the object as it came. Only an object without its id is rejected.
What is read fits its column: texts are cut to `app.values.widths`, and numbers and times outside the range of
`app.values.storable` are None.

The `read_…` functions take one decoded JSON value and raise nothing.
"""

from app.ringcentral.models.fields import account_in_uri, read_count, read_text, read_time
from app.ringcentral.models.insights import Insights, read_insights
from app.ringcentral.models.pages import BulkItem, RecordsPage, RecordsSync
from app.ringcentral.models.records import (
    BadRecord,
    CallRecord,
    Message,
    Party,
    Recording,
    read_call_record,
    read_recording,
)
from app.ringcentral.models.sessions import TelephonySession, read_session
from app.ringcentral.models.subscriptions import DisabledFilter, Subscription, read_subscription
from app.ringcentral.models.tokens import Token, read_token
from app.ringcentral.models.voicemails import Attachment, Voicemail, read_voicemail

__all__ = [
    "Attachment",
    "BadRecord",
    "BulkItem",
    "CallRecord",
    "DisabledFilter",
    "Insights",
    "Message",
    "Party",
    "Recording",
    "RecordsPage",
    "RecordsSync",
    "Subscription",
    "TelephonySession",
    "Token",
    "Voicemail",
    "account_in_uri",
    "read_call_record",
    "read_count",
    "read_insights",
    "read_recording",
    "read_session",
    "read_subscription",
    "read_text",
    "read_time",
    "read_token",
    "read_voicemail",
]
