"""Telephony notifications for the load generator: unique, about 1.5 KB, of calls that begin, talk and end.

Made from prepared templates: writing JSON anew for every request would make the generator slow.
"""

import json
from collections.abc import Iterator
from typing import Any

ACCOUNT = "908070001"
CALLS_AT_ONCE = 400
"""So many calls are in progress at any time; their events arrive in turn, as those of a busy company do."""

_UUID, _SESSION, _CALL = "%(uuid)b", "%(session)b", "%(call)b"
_STEPS = (
    ("Setup", 1),
    ("Setup", 2),
    ("Proceeding", 2),
    ("Answered", 2),
    ("Answered", 1),
    ("Hold", 2),
    ("Answered", 2),
    ("Disconnected", 2),
    ("Disconnected", 1),
)


def bodies(first: int) -> Iterator[bytes]:
    """Yield bodies without end; numbers from `first` on make their `uuid`s and calls unique."""
    steps = [
        json.dumps(_notification(code, party, step + 2), separators=(",", ":")).encode()
        for step, (code, party) in enumerate(_STEPS)
    ]
    number, call = first, first // len(_STEPS)
    while True:
        for template in steps:
            for place in range(call, call + CALLS_AT_ONCE):
                number += 1
                name = b"%010d" % (place % 10**10)
                yield template % {b"uuid": b"%019d" % number, b"session": b"100" + name, b"call": name}
        call += CALLS_AT_ONCE


def sample() -> bytes:
    """Return one body, to tell its size."""
    return next(bodies(10**18))


def _notification(code: str, party: int, sequence: int) -> dict[str, Any]:
    call = f"a0c14f2b77d1ez{_CALL}z5e6f70000"
    return {
        "uuid": _UUID,
        "event": f"/restapi/v1.0/account/{ACCOUNT}/extension/711000101/telephony/sessions",
        "timestamp": "2026-03-10T18:07:41.085Z",
        "subscriptionId": "7d2c6f10-0b5e-4f43-9c8a-2a41b7e0c111",
        "ownerId": "711000101",
        "body": {
            "sequence": sequence,
            "sessionId": _SESSION,
            "telephonySessionId": f"s-{call}",
            "serverId": "10.74.32.101.TAM",
            "eventTime": f"2026-03-10T18:07:{40 + sequence}.012Z",
            "parties": [
                {
                    "accountId": ACCOUNT,
                    "extensionId": "711000101",
                    "id": f"p-{call}-{party}",
                    "direction": "Outbound" if party == 1 else "Inbound",
                    "from": {"phoneNumber": "+15550179001", "name": "Dana Field"},
                    "to": {"phoneNumber": "+15550100101", "name": "Ana Ruiz", "extensionId": "711000101"},
                    "status": {"code": code, "rcc": False},
                    "park": {},
                    "missedCall": False,
                    "standAlone": False,
                    "muted": False,
                    "queueCall": False,
                    "recordings": [{"id": f"30{_CALL}", "active": code == "Answered"}],
                    "conferenceRole": "Participant",
                    "uiCallInfo": {
                        "primary": {"type": "CallerIdName", "value": "Dana Field"},
                        "additional": {"type": "CallerIdNumber", "value": "+15550179001"},
                    },
                    "mobilePickupData": {
                        "ccMailboxes": ["711000101", "711000102"],
                        "to": "+15550100101",
                        "sid": "18",
                        "srvLvl": "-149699523",
                        "srvLvlExt": "406",
                    },
                    "device": {"id": "8028230011", "model": "Polycom VVX-411 Color Business Phone"},
                    "sipData": {
                        "toTag": f"10.74.32.102-5070-{_CALL}-5b6e",
                        "fromTag": f"10.74.32.101-5060-{_CALL}-3c7d",
                        "remoteUri": "sip:+15550179001@10.74.32.101:5060;transport=tls",
                        "localUri": "sip:+15550100101@10.74.32.102:5070;transport=tls",
                    },
                }
            ],
            "origin": {"type": "Call"},
        },
    }
