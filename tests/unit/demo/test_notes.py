import pytest

from app.demo.notes import (
    NoteKind,
    When,
    attachments_after,
    attachments_before,
    attachments_during,
    is_attached,
)

from .samples import call

SESSIONS = [str(number) for number in range(1000, 1040)]


@pytest.mark.parametrize("script", ["outbound_answered", "outbound_busy", "outbound_no_answer"])
def test_calls_that_the_crm_dials_have_a_note_beforehand(script: str) -> None:
    (attachment,) = attachments_before(script, "1001")

    assert (attachment.kind, attachment.when) == (NoteKind.NOTE, When.BEFORE)


def test_inbound_calls_have_no_note_beforehand() -> None:
    assert not attachments_before("inbound_direct", "1001")


def test_some_calls_have_notes_during_the_call() -> None:
    typed = [bool(attachments_during(session)) for session in SESSIONS]

    assert any(typed)
    assert not all(typed)


@pytest.mark.parametrize("outcome", ["missed", "abandoned", "noAnswer", "busy"])
def test_unanswered_calls_get_a_callback_disposition(outcome: str) -> None:
    assert [attachment.kind for attachment in attachments_after("1001", outcome)] == [NoteKind.DISPOSITION]


@pytest.mark.parametrize("session", SESSIONS)
def test_scores_and_keys_are_valid_for_the_api(session: str) -> None:
    attachments = [
        *attachments_before("outbound_busy", session),
        *attachments_during(session),
        *attachments_after(session, "answered"),
    ]

    assert len({(attachment.kind, attachment.key) for attachment in attachments}) == len(attachments)
    assert {attachment.kind for attachment in attachments} >= {NoteKind.SENTIMENT, NoteKind.NOTE}
    assert all(
        -1 <= attachment.body["score"] <= 1
        for attachment in attachments
        if attachment.kind is NoteKind.SENTIMENT
    )
    assert all(attachment.body["text"] for attachment in attachments if attachment.kind is NoteKind.NOTE)


def test_a_note_is_attached_once_with_its_text() -> None:
    (attachment,) = attachments_before("outbound_busy", "1001")
    kept = {"externalId": attachment.key, "text": attachment.body["text"]}

    assert is_attached(attachment, call(notes=[kept]))
    assert not is_attached(attachment, call())
    assert not is_attached(attachment, call(notes=[kept, kept]))
    assert not is_attached(attachment, call(notes=[kept | {"text": "something else"}]))


def test_a_sentiment_and_a_disposition_are_recognised() -> None:
    _, sentiment = attachments_after("1001", "answered")
    (disposition,) = attachments_after("1001", "missed")
    kept = {"source": sentiment.key, "score": sentiment.body["score"]}

    assert is_attached(sentiment, call(sentiments=[kept]))
    assert not is_attached(sentiment, call(sentiments=[kept | {"score": -1.0}]))
    assert is_attached(disposition, call(disposition={"code": "callback"}))
    assert not is_attached(disposition, call())
