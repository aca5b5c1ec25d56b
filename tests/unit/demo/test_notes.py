import pytest

from app.demo.notes import NoteKind, When, is_attached, pieces_after, pieces_before, pieces_during

from .samples import call

SESSIONS = [str(number) for number in range(1000, 1040)]


@pytest.mark.parametrize("script", ["outbound_answered", "outbound_busy", "outbound_no_answer"])
def test_calls_that_the_crm_dials_have_their_reason_noted_beforehand(script: str) -> None:
    (piece,) = pieces_before(script, "1001")

    assert (piece.kind, piece.when) == (NoteKind.NOTE, When.BEFORE)


def test_nobody_can_note_anything_before_a_customer_calls() -> None:
    assert not pieces_before("inbound_direct", "1001")


def test_some_agents_type_during_the_call_and_some_do_not() -> None:
    typed = [bool(pieces_during(session)) for session in SESSIONS]

    assert any(typed)
    assert not all(typed)


@pytest.mark.parametrize("outcome", ["missed", "abandoned", "noAnswer", "busy"])
def test_a_call_that_reached_nobody_is_to_be_called_back(outcome: str) -> None:
    assert [piece.kind for piece in pieces_after("1001", outcome)] == [NoteKind.DISPOSITION]


@pytest.mark.parametrize("session", SESSIONS)
def test_scores_and_keys_are_what_the_api_takes(session: str) -> None:
    pieces = [
        *pieces_before("outbound_busy", session),
        *pieces_during(session),
        *pieces_after(session, "answered"),
    ]

    assert len({(piece.kind, piece.key) for piece in pieces}) == len(pieces)
    assert {piece.kind for piece in pieces} >= {NoteKind.SENTIMENT, NoteKind.NOTE}
    assert all(-1 <= piece.body["score"] <= 1 for piece in pieces if piece.kind is NoteKind.SENTIMENT)
    assert all(piece.body["text"] for piece in pieces if piece.kind is NoteKind.NOTE)


def test_a_note_is_attached_only_once_and_with_its_own_text() -> None:
    (piece,) = pieces_before("outbound_busy", "1001")
    kept = {"externalId": piece.key, "text": piece.body["text"]}

    assert is_attached(piece, call(notes=[kept]))
    assert not is_attached(piece, call())
    assert not is_attached(piece, call(notes=[kept, kept]))
    assert not is_attached(piece, call(notes=[kept | {"text": "something else"}]))


def test_a_sentiment_and_a_disposition_are_recognised() -> None:
    _, sentiment = pieces_after("1001", "answered")
    (disposition,) = pieces_after("1001", "missed")
    kept = {"source": sentiment.key, "score": sentiment.body["score"]}

    assert is_attached(sentiment, call(sentiments=[kept]))
    assert not is_attached(sentiment, call(sentiments=[kept | {"score": -1.0}]))
    assert is_attached(disposition, call(disposition={"code": "callback"}))
    assert not is_attached(disposition, call())
