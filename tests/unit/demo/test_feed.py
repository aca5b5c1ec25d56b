from hypothesis import given
from hypothesis import strategies as st

from app.demo.feed import EventReader

STREAM = """retry: 2000
: following

id: 7
event: call.live
data: {"type": "call.live",
data: "version": 1}

: ping

id: 8
data:{"type":"call.ended"}

"""


def test_events_are_assembled_and_comments_are_skipped() -> None:
    reader = EventReader()

    events = [event for line in STREAM.splitlines() if (event := reader.read(line)) is not None]

    assert events == [{"type": "call.live", "version": 1}, {"type": "call.ended"}]
    assert reader.last_id == "8"


@given(cut=st.integers(0, len(STREAM.splitlines())))
def test_an_interruption_loses_at_most_the_current_event(cut: int) -> None:
    lines, reader = STREAM.splitlines(), EventReader()
    before = [event for line in lines[:cut] if (event := reader.read(line)) is not None]

    reader.begin()
    again = [event for line in lines if (event := reader.read(line)) is not None]

    assert len(before) <= 2
    assert again == [{"type": "call.live", "version": 1}, {"type": "call.ended"}]
