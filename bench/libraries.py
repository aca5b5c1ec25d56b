"""Measure hand-written code beside the library that could do the same: `python -m bench.libraries`.

docs/decisions/libraries.md says what follows from it.
tests/contract/test_libraries.py tests where the two differ.
"""

import email.parser
import email.policy
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import TypeAdapter

from app.calls.evidence.facts import Fact, Peer, Stream
from app.ringcentral.protocol.multistatus import split_parts

CONTENT_TYPE = "multipart/mixed; boundary=B_1"
ROUNDS = 30
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def split_by_email(content_type: str, body: bytes) -> list[bytes]:
    """Split a multipart body with the standard library."""
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    if not message.is_multipart():
        return []
    return [part.get_payload(decode=True) for part in message.get_payload()]  # type: ignore[union-attr, misc]


def make_multipart(parts: list[bytes]) -> bytes:
    """Write parts as RingCentral writes an answer about many ids."""
    head = b"--B_1\r\nContent-Type: application/json\r\n\r\n"
    return b"".join(head + part + b"\r\n" for part in parts) + b"--B_1--\r\n"


def make_fact(sequence: int) -> Fact:
    """Make a fact as an answered call has a dozen of them."""
    return Fact(
        source=Stream.TELEPHONY,
        uuid=f"8107462387462{sequence:05}",
        part=0,
        received_at=NOON,
        event_time=NOON,
        party_id="p-a0c14f2b77d1ez1928b3f4c10z5e6f70000-2",
        sequence=sequence,
        session_id="1229016182016",
        telephony_session_id="s-a0c14f2b77d1ez1928b3f4c10z5e6f70000",
        account_id="908070001",
        extension_id="711000101",
        direction="Inbound",
        code="Answered",
        peer=Peer("1229016184016"),
    )


def median_ms(work: Callable[[], object]) -> float:
    """Return the median time of one run, in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def main() -> int:
    """Print the measurements."""
    legs = [{"startTime": "2026-03-10T18:07:41.000Z", "legType": "Accept", "duration": n} for n in range(40)]
    body = make_multipart([json.dumps({"id": "QX7f14l8Nt_2aVB", "legs": legs}).encode()] * 50)
    print(f"multipart, 50 parts, {len(body):,} bytes:", end=" ")
    print(f"ours {median_ms(lambda: split_parts(CONTENT_TYPE, body)):.1f} ms,", end=" ")
    print(f"email {median_ms(lambda: split_by_email(CONTENT_TYPE, body)):.1f} ms")

    adapter = TypeAdapter(list[Fact])
    facts = [make_fact(number) for number in range(100)]
    ours = [fact.to_json() for fact in facts]
    theirs = adapter.dump_python(facts, mode="json", exclude_defaults=True)
    print(f"100 facts stored: ours {len(json.dumps(ours)):,} bytes,", end=" ")
    print(f"TypeAdapter {len(json.dumps(theirs)):,} bytes")
    print(f"100 facts read: ours {median_ms(lambda: [Fact.from_json(one) for one in ours]):.2f} ms,", end=" ")
    print(f"TypeAdapter {median_ms(lambda: adapter.validate_python(theirs)):.2f} ms")
    print(f"100 facts written: ours {median_ms(lambda: [one.to_json() for one in facts]):.2f} ms,", end=" ")
    dumped = median_ms(lambda: adapter.dump_python(facts, mode="json", exclude_defaults=True))
    print(f"TypeAdapter {dumped:.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
