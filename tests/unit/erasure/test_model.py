"""How an erasure goes from phase to phase."""

import json

from hypothesis import given
from hypothesis import strategies as st

from app.erasure.model import Phase, Progress, camel

PLACES = ["calls", "deliveries", "notes"]


@given(st.data())
def test_every_place_is_looked_through_before_the_files_and_the_check(data: st.DataObject) -> None:
    progress, seen, checks = Progress(), [], 0
    for _ in range(200):
        # What is stored is what is continued from.
        progress = Progress.from_json(json.loads(json.dumps(progress.to_json())))
        match progress.phase:
            case Phase.CALLS:
                progress = progress.after_calls(data.draw(st.integers(0, 1)), PLACES)
            case Phase.MENTIONS:
                assert progress.place is not None
                last = data.draw(st.none() | st.tuples(st.text(max_size=3)))
                seen += [] if last else [progress.place]
                progress = progress.after_rows(last, PLACES, waits=data.draw(st.booleans()))
            case Phase.FILES:
                progress = progress.after_files()
            case Phase.CHECK:
                checks += 1
                waited = progress.waits
                following = progress.after_check(data.draw(st.integers(0, 1)))
                if following is None:
                    assert not waited, "what waits is looked at again"
                    break
                progress = following
                assert not progress.waits
    assert seen == (PLACES * (checks + 1))[: len(seen)]
    assert len(seen) >= len(PLACES) * checks


def test_nothing_to_look_through_leads_to_the_files() -> None:
    after = Progress(Phase.MENTIONS, "gone").after_rows(None, PLACES, waits=False)
    assert after.phase is Phase.FILES


def test_kinds_are_named_as_fields_are() -> None:
    assert camel("call_records") == "callRecords"
