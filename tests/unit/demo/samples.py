"""Samples of the simulator's truths and the API's calls: valid by default, any field by keyword."""

from datetime import UTC, datetime, timedelta
from typing import Any

BEGAN = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def record(**fields: Any) -> dict[str, Any]:
    return {"id": "rec-1", "direction": "Inbound", "action": "Phone Call", "result": "Accepted", **fields}


def session(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "sessionId": f"100{number}",
        "telephonySessionId": f"s-{number}",
        "startedAt": at(0).isoformat(),
        "endedAt": at(10).isoformat(),
        "records": [record()],
        **fields,
    }


def truth(*sessions: dict[str, Any], script: str = "inbound_direct") -> dict[str, Any]:
    return {"script": script, "sessions": list(sessions or (session(),))}


def call(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"call_{number}",
        "sessionId": f"100{number}",
        "telephonySessionId": f"s-{number}",
        "stage": "bootstrapped",
        "absentReason": None,
        "direction": "Inbound",
        "outcome": "answered",
        "answerTime": None,
        "from": {"name": "Dana Field", "phoneNumber": "+15550179001"},
        "to": {"phoneNumber": "+15550100101"},
        "queueName": None,
        "conversation": {"id": None, "mainCallId": f"call_{number}", "isMain": True},
        "records": [{"id": "rec-1"}],
        "notes": [],
        "sentiments": [],
        "disposition": None,
        **fields,
    }


def change(kind: str, number: int = 1, **data: Any) -> dict[str, Any]:
    return {"type": kind, "telephonySessionId": f"s-{number}", "data": data}
