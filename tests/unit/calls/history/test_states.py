"""Earlier versions from changes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.calls.feed.catalogue import CHANGE_TYPES
from app.calls.history.schemas import CallVersion
from app.calls.history.states import PastChange, states_of
from tests.fakes.clock import START


def change(version: int, kind: str, **data: Any) -> PastChange:
    return PastChange(version, kind, START, data)


def last(*changes: PastChange) -> dict[str, Any]:
    return list(states_of(changes))[-1]


def test_a_version_has_what_its_changes_tell_together() -> None:
    shown = last(
        change(1, "call.live", stage="live", direction="Inbound"),
        change(2, "note.created", stage="live", noteId="n1", keyId="key_1"),
        change(3, "recording.announced", stage="live", recordingId="9"),
        change(4, "call.ended", stage="ended", outcome="answered", endedAt="2026-03-10T18:09:16.752Z"),
        change(5, "recording.ready", stage="ended", recordingId="9"),
        change(6, "sentiment.set", stage="ended", source="hubspot", label="positive"),
        change(7, "disposition.set", stage="ended", code="sold"),
        change(8, "link.set", stage="ended", crm="hubspot"),
    )
    assert (shown["version"], shown["stage"], shown["direction"]) == (8, "ended", "Inbound")
    assert (shown["outcome"], shown["endTime"]) == ("answered", "2026-03-10T18:09:16.752Z")
    assert shown["recordings"] == {"9": "ready"}
    assert (shown["notes"], shown["crms"], shown["disposition"]) == (["n1"], ["hubspot"], "sold")
    assert shown["sentiments"] == {"hubspot": "positive"}


def test_what_was_deleted_is_in_earlier_versions_only() -> None:
    words = {
        "note": {"noteId": "n1"},
        "link": {"crm": "x"},
        "sentiment": {"source": "x", "label": "positive"},
    }
    words["disposition"] = {"code": "sold"}
    for word, data in words.items():
        verb = "created" if word == "note" else "set"
        before, after = states_of([change(1, f"{word}.{verb}", **data), change(2, f"{word}.deleted", **data)])
        of_none = last(change(1, "call.live"))
        same = {"version", "type", "at"}
        assert {key: after[key] for key in after.keys() - same} == {
            key: of_none[key] for key in of_none.keys() - same
        }
        assert before != after


@given(st.lists(st.sampled_from(CHANGE_TYPES), min_size=1, max_size=12))
def test_any_history_matches_the_schema(types: list[Any]) -> None:
    changes = [change(at, one.name, **one.example) for at, one in enumerate(types, 1)]
    for number, state in enumerate(states_of(changes), 1):
        shown = CallVersion.model_validate(state)
        assert shown.version == number
        assert shown.stage == types[number - 1].example["stage"]
