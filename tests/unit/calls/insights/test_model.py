"""Insights as the API shows them, from RingCentral's objects."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.calls.attachments.rules.labels import Label
from app.calls.insights.model import Mood, Version, is_newer, read_mood, read_speakers, show
from tests.factories import ANA, DANA_NUMBER
from tests.factories_insights import AGENT, CALLER, PARTIES, READY, insights, mood


def version(raw: dict[str, Any], at: datetime | None = READY) -> Version:
    return Version(
        telephony_session_id=raw.get("sourceSessionId"),
        recording_id=raw.get("sourceRecordId"),
        last_modified_at=at,
        raw=raw,
    )


def shown(raw: dict[str, Any]) -> dict[str, Any]:
    return show(version(raw), PARTIES, READY, "webhook")


def test_every_kind_is_shown_under_its_name() -> None:
    found = shown(insights())
    assert [line["text"] for line in found["transcript"]] == ["Good morning.", "I need an invoice by Friday."]
    assert found["summary"][0]["value"] == "Order question, solved."
    assert found["bulletedSummary"] == [{"value": "Asked for an invoice", "section": "Topics"}]
    assert found["highlights"][0]["start"] == 40.0
    assert found["nextSteps"] == [{"value": "Send the invoice"}]
    assert found["callNotes"] == [{"value": "Wants e-mail"}]
    assert (found["sentiment"], found["sentimentWords"]) == ("positive", ["Positive"])
    assert found["recordingDuration"] == 92.0
    assert found["lastModifiedTime"] == "2026-03-10T18:37:41.012Z"
    assert found["otherInsights"] == {}


@pytest.mark.parametrize(
    ("told", "score"), [("8", 8.0), ("7.5", 7.5), (6, 6.0), ("n/a", None), ("nan", None), (None, None)]
)
def test_a_score_in_a_string_is_shown_as_a_number(told: Any, score: float | None) -> None:
    assert shown(insights(kinds={"AIScore": [{"value": told}]}))["aiScore"] == score


def test_a_score_of_zero_is_a_score() -> None:
    assert shown(insights(kinds={"AIScore": [{"value": "0"}]}))["aiScore"] == 0.0


def test_both_spellings_of_highlights_are_the_same_kind() -> None:
    found = shown(insights(kinds={"HighLights": [{"value": "invoice"}]}))
    assert found["highlights"] == [{"value": "invoice"}]


def test_unknown_kinds_pass_through() -> None:
    found = shown(insights(kinds={"Emotion": [{"value": "calm"}], "Keywords": "invoice"}))
    assert found["otherInsights"] == {"Emotion": [{"value": "calm"}], "Keywords": ["invoice"]}
    assert found["transcript"] == []


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"insights": None},
        {"insights": []},
        {"insights": {"Summary": None}},
        {"insights": {"Transcript": ["x"]}},
    ],
)
def test_missing_or_malformed_parts_are_empty(raw: dict[str, Any]) -> None:
    found = show(
        Version(telephony_session_id="s-1", recording_id=None, last_modified_at=None, raw=raw),
        [],
        READY,
        "insights",
    )
    assert (found["transcript"], found["aiScore"], found["sentiment"]) == ([], None, None)
    assert found["speakers"] == []


@pytest.mark.parametrize(
    ("words", "label"),
    [
        (["Positive"], Label.POSITIVE),
        (["NEGATIVE"], Label.NEGATIVE),
        (["Neutral"], Label.NEUTRAL),
        (["Positive", "Positive"], Label.POSITIVE),
        (["Positive", "Neutral"], Label.POSITIVE),
        (["Neutral", "Negative"], Label.NEGATIVE),
        (["Positive", "Negative"], Label.MIXED),
        (["Positive", "Mixed"], Label.MIXED),
        (["Elated", "Positive"], Label.POSITIVE),
    ],
)
def test_the_sentiment_of_a_call_is_that_of_all_its_recordings(words: list[str], label: Label) -> None:
    found = read_mood([mood(word) for word in words])
    assert found == Mood(label, words[0] if len(words) == 1 else words)


def test_an_unknown_word_is_shown_but_sets_no_sentiment() -> None:
    assert read_mood([mood("Elated")]) is None
    assert shown(mood("Elated"))["sentimentWords"] == ["Elated"]


def test_speakers_are_parties_of_the_call() -> None:
    ana, dana = shown(insights())["speakers"]
    assert (ana["extensionId"], ana["partyId"]) == (ANA, AGENT)
    assert (dana["phoneNumber"], dana["partyId"]) == (DANA_NUMBER, CALLER)


def test_a_speaker_is_found_by_position_alone() -> None:
    (dana,) = read_speakers([{"speakerId": "P-1", "name": "Dana"}], PARTIES)
    assert dana["partyId"] == CALLER
    (whole,) = read_speakers([{"speakerId": CALLER.upper()}], PARTIES)
    assert whole["partyId"] == CALLER


def test_a_speaker_of_an_extension_that_was_not_in_the_call_is_no_party() -> None:
    (somebody,) = read_speakers([{"speakerId": "P-2", "extensionId": "711000199"}], PARTIES)
    assert somebody["partyId"] is None


def test_a_speaker_is_the_answered_party_of_the_extension() -> None:
    twice = [*PARTIES, PARTIES[1] | {"id": "p-3", "answeredAt": "2026-03-10T18:07:44Z"}]
    (ana,) = read_speakers([{"speakerId": "x", "extensionId": ANA}], twice)
    assert ana["partyId"] == "p-3"
    (nobody,) = read_speakers(
        [{"speakerId": "x", "extensionId": ANA}], [*PARTIES, PARTIES[1] | {"id": "p-3"}]
    )
    assert nobody["partyId"] is None


def test_the_version_that_was_changed_later_is_the_newer_one() -> None:
    later = version(mood("Negative"), datetime(2026, 3, 10, 19, tzinfo=UTC))
    assert is_newer(later, version(insights()))
    assert not is_newer(version(insights()), later)
    assert is_newer(version(insights()), version(insights(), None))


def test_of_versions_of_one_time_the_one_with_more_kinds_is_newer() -> None:
    assert is_newer(version(insights()), version(mood("Positive")))
    assert not is_newer(version(insights()), version(insights()))
