"""What became of a conversation, and how long people talked in it."""

from datetime import timedelta
from typing import Any

import pytest

from app.calls.conversations.summary import Part, outcome_of, talk_seconds_of
from app.calls.main_calls.rule import Member
from app.calls.model import Outcome, Stage
from tests.fakes.clock import START


def part(name: str, *, talk: float | None = None, stage: str = Stage.FINAL, **fields: Any) -> Part:
    related = fields.pop("related", [])
    values: dict[str, Any] = {"internal": False, "outcome": Outcome.ANSWERED}
    started_at = START + timedelta(seconds=fields.pop("after", 0))
    member = Member(call_id=name, key=f"s-{name}", started_at=started_at, **(values | fields))
    return Part(member, stage, talk, related)


PICKED_UP = [{"kind": "pickup", "callId": "second"}]


@pytest.mark.parametrize(
    ("main", "other", "outcome"),
    [
        (part("main"), part("second", outcome=Outcome.MISSED), Outcome.ANSWERED),
        (part("main", outcome=Outcome.MISSED), part("second"), Outcome.MISSED),
        (part("main", outcome=Outcome.MISSED, related=PICKED_UP), part("second"), Outcome.ANSWERED),
        (
            part("main", outcome=Outcome.MISSED, related=PICKED_UP),
            part("second", outcome=Outcome.NO_ANSWER),
            Outcome.MISSED,
        ),
        (part("main"), part("second", stage=Stage.LIVE), Outcome.IN_PROGRESS),
    ],
)
def test_the_outcome_is_that_of_the_main_call_unless_it_was_picked_up(
    main: Part, other: Part, outcome: Outcome
) -> None:
    assert outcome_of(main, [main, other]) == outcome


def test_the_talk_time_is_that_of_all_calls() -> None:
    main = part("main", talk=40.0)
    assert talk_seconds_of(main, [main, part("second", talk=20.5), part("third")]) == 60.5


def test_sessions_that_only_serve_another_one_add_no_talk_time() -> None:
    main = part("main", talk=40.0)
    phone = part("first", talk=60.0, origin="RingOut", calls_extension=True)
    assert talk_seconds_of(main, [main, phone, part("monitor", talk=9.0, action="Monitoring")]) == 40.0


def test_a_side_session_alone_has_its_own_talk_time() -> None:
    phone = part("first", talk=60.0, origin="RingOut", calls_extension=True)
    assert talk_seconds_of(phone, [phone]) == 60.0


def test_an_unknown_talk_time_stays_unknown() -> None:
    main = part("main")
    assert talk_seconds_of(main, [main]) is None
