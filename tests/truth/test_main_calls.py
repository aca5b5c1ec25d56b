"""The main call of a scripted conversation is the true one, whichever witnesses tell of each of its calls."""

from collections.abc import Sequence
from datetime import datetime
from itertools import product

import pytest

from app.calls.evidence.facts import SessionFacts
from app.calls.evidence.parties import read_parties
from app.calls.evidence.records import primary_of
from app.calls.evidence.versions import RecordVersion
from app.calls.main_calls.rule import Member, main_of
from app.calls.model import LinkKind, Source
from tests.truth.conformance import Telling, tellings

BY_SESSION: dict[str, dict[str, list[Telling]]] = {}
"""The ways in which each session is told, by script and session."""

for telling in tellings():
    sessions = BY_SESSION.setdefault(telling.played.script, {})
    sessions.setdefault(telling.truth.telephony_session_id, []).append(telling)


def main_sessions(script: str) -> list[str]:
    return [session for session, (first, *_) in BY_SESSION[script].items() if first.truth.is_main]


CONVERSATIONS = [
    script
    for script, sessions in sorted(BY_SESSION.items())
    # A call-back is a call of its own: nothing links it with the one that it answers.
    if len(sessions) > len(main_sessions(script)) == 1
]
FETCHED_AT = datetime.fromisoformat("2026-03-11T12:00:00+00:00")


def member_of(telling: Telling) -> Member:
    call = telling.derive()
    shown = call.to_json or {}
    assert call.started_at is not None
    primary = primary_of([RecordVersion(one, Source.CALL_LOG, FETCHED_AT) for one in telling.records])
    kinds = {link.kind for link in read_parties(SessionFacts.of(telling.facts)).related}
    session = telling.truth.telephony_session_id
    return Member(
        call_id=f"call of {session}",
        key=session,
        started_at=call.started_at,
        internal=call.internal,
        external_number=call.external_number,
        outcome=call.outcome_if_over,
        origin=call.origin,
        action=primary.action if primary else None,
        dialed=shown.get("phoneNumber"),
        calls_extension="extensionId" in shown or "extensionNumber" in shown,
        supervises=LinkKind.SUPERVISING in kinds,
        was_picked_up=LinkKind.PICKUP in kinds,
    )


def ways_of(script: str) -> list[Sequence[Telling]]:
    return list(product(*BY_SESSION[script].values()))


def test_the_scripts_have_every_kind_of_conversation() -> None:
    assert {"conference", "picked_up_elsewhere", "ringout", "supervised", "warm_transfer"} <= set(
        CONVERSATIONS
    )


@pytest.mark.parametrize("script", CONVERSATIONS)
def test_the_main_call_is_the_same_in_every_way(script: str) -> None:
    (right,) = main_sessions(script)
    wrong = [
        [f"{one.who or one.way}" for one in way]
        for way in ways_of(script)
        if main_of(member_of(one) for one in way) != f"call of {right}"
    ]
    assert wrong == []
