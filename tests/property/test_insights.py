"""The same version of insights is stored in any order of arrival, and malformed insights do not raise."""

from datetime import timedelta
from functools import reduce
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.calls.insights.model import Version, is_newer, read_mood, read_speakers, show
from tests.factories_insights import KINDS, PARTIES, READY, insights

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
versions = st.builds(
    lambda minutes, names, title: Version(
        telephony_session_id="s-1",
        recording_id="1",
        last_modified_at=None if minutes is None else READY + timedelta(minutes=minutes),
        raw=insights("1", kinds={name: KINDS[name] for name in names}, title=title),
    ),
    st.none() | st.integers(0, 3),
    st.sets(st.sampled_from(sorted(KINDS))),
    st.sampled_from(["a", "b"]),
)


def keep(kept: Version, fresh: Version) -> Version:
    return fresh if is_newer(fresh, kept) else kept


@given(st.lists(versions, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_any_order_and_repetition_stores_the_same_version(arrived: list[Version], chance: Any) -> None:
    shuffled = [*arrived, *arrived]
    chance.shuffle(shuffled)
    kept = reduce(keep, arrived)
    assert reduce(keep, shuffled) == kept
    assert not any(is_newer(one, kept) for one in arrived)


kinds = st.dictionaries(st.sampled_from([*KINDS, "HighLights", "Emotion"]), json_values, max_size=5)


@given(kinds, json_values)
def test_malformed_insights_do_not_raise(arrived: dict[str, Any], speakers: Any) -> None:
    raw = {"insights": arrived, "speakerInfo": speakers, "recordingDurationMs": speakers, "title": speakers}
    version = Version(telephony_session_id=None, recording_id="1", last_modified_at=None, raw=raw)
    shown = show(version, PARTIES, READY, "webhook")
    mood = read_mood([raw])
    assert shown["sentiment"] == (mood.label.value if mood else None)
    assert len(read_speakers(speakers, PARTIES)) == len(shown["speakers"])
    assert all(isinstance(item, dict) for item in shown["transcript"])
