"""Conversation insights as RingCentral writes them: Ana and Dana, one recording, an order question."""

from datetime import timedelta
from typing import Any

from tests.factories import ACCOUNT, ANA, DANA_NUMBER, NOON, TELEPHONY_SESSION, TRANSIT, party_id, rc_time

Json = dict[str, Any]

RECORDING = "3019664700"
READY = NOON + timedelta(minutes=30)
KINDS: Json = {
    "Transcript": [
        {"speakerId": "P-2", "text": "Good morning.", "start": 1.2, "end": 2.0},
        {"speakerId": "P-1", "text": "I need an invoice by Friday.", "start": 2.4, "end": 5.1},
    ],
    "Summary": [{"value": "Order question, solved.", "start": 0, "end": 92}],
    "BulletedSummary": [{"value": "Asked for an invoice", "section": "Topics"}],
    "Highlights": [{"speakerId": "P-1", "value": "invoice by Friday", "start": 40.0, "end": 44.0}],
    "NextSteps": [{"value": "Send the invoice"}],
    "CallNotes": [{"value": "Wants e-mail"}],
    "AIScore": [{"value": "8"}],
    "Sentiment": [{"value": "Positive"}],
}


def insights(recording_id: str | None = RECORDING, *, kinds: Json | None = None, **fields: Any) -> Json:
    """The insights of one recording."""
    whole = {
        "title": "Dana Field and Ana Ruiz",
        "domain": "pbx",
        "sourceSessionId": TELEPHONY_SESSION,
        "sourceRecordId": recording_id,
        "callDirection": "Inbound",
        "ownerExtensionId": ANA,
        "recordingDurationMs": 92000,
        "recordingStartTime": "2026-03-10T18:07:44Z",
        "creationTime": rc_time(READY),
        "lastModifiedTime": rc_time(READY),
        "rsRecordUri": "https://example.invalid/r/1",
        "speakerInfo": [
            {"speakerId": "P-2", "name": "Ana Ruiz", "accountId": ACCOUNT, "extensionId": ANA},
            {
                "speakerId": "P-1",
                "name": "Dana Field",
                "accountId": None,
                "extensionId": None,
                "phoneNumber": DANA_NUMBER,
            },
        ],
        "insights": KINDS if kinds is None else kinds,
    } | fields
    return {name: value for name, value in whole.items() if value is not None}


def mood(word: str, **fields: Any) -> Json:
    """Insights that say nothing but the sentiment."""
    return insights(kinds={"Sentiment": [{"value": word}]}, **fields)


def insights_event(body: Json | None = None, *, uuid: str = "insights-1") -> Json:
    """The notification that brings them."""
    return {
        "uuid": uuid,
        "event": f"/ai/ringsense/v1/public/accounts/{ACCOUNT}/domains/pbx/insights",
        "timestamp": rc_time(READY + TRANSIT),
        "subscriptionId": "7d2c6f10-0b5e-4f43-9c8a-2a41b7e0c111",
        "ownerId": ANA,
        "body": insights() if body is None else body,
    }


CALLER, AGENT = party_id(1), party_id(2)
PARTIES: list[Json] = [
    {
        "id": CALLER,
        "direction": "Outbound",
        "from": {"phoneNumber": DANA_NUMBER, "name": "Dana Field"},
        "to": {"phoneNumber": "+15550100101"},
    },
    {
        "id": AGENT,
        "extensionId": ANA,
        "direction": "Inbound",
        "from": {"phoneNumber": DANA_NUMBER},
        "to": {"phoneNumber": "+15550100101", "extensionId": ANA},
    },
]
