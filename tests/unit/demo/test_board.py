from typing import Any

import pytest

from app.demo.board import DemoBoard, SentAttachment, describe_attachments, describe_sides
from app.demo.notes import attachments_after, attachments_before

from .samples import at, call, change, session, truth


def board_with(*truths: dict[str, Any], speed: float = 1.0) -> DemoBoard:
    board = DemoBoard(speed, 120.0)
    for number, one in enumerate(truths, start=1):
        board.add_call(number, one)
    return board


def test_the_time_to_the_record_counts_from_the_hang_up_in_simulated_seconds() -> None:
    board = board_with(truth(), speed=10.0)

    board.apply_change(change("call.bootstrapped"), at(10.6))

    summary = board.summarize(at(11))
    assert summary.median_seconds == pytest.approx(6.0)
    assert (summary.ended, summary.enriched, summary.in_window) == (1, 1, 1)


def test_a_record_after_the_window_is_not_counted_in_it() -> None:
    board = board_with(truth(), speed=10.0)

    board.apply_change(change("call.bootstrapped"), at(10 + 12.1))

    summary = board.summarize(at(30))
    assert (summary.enriched, summary.in_window, summary.window_share) == (1, 0, 0.0)


def test_the_first_record_determines_the_time() -> None:
    board = board_with(truth())
    board.apply_change(change("call.bootstrapped", source="active-calls"), at(15))
    board.apply_change(change("call.reconciled"), at(80))

    line = board.find("s-1")

    assert line is not None
    assert (line.stage, line.seconds_to_record, line.source) == ("reconciled", 5.0, "active-calls")


def test_a_call_of_two_sessions_is_enriched_when_both_have_records() -> None:
    board = board_with(truth(session(1), session(2), script="warm_transfer"))
    board.apply_change(change("call.bootstrapped", 1), at(12))
    assert board.summarize(at(20)).enriched == 0

    board.apply_change(change("call.bootstrapped", 2), at(14))

    summary = board.summarize(at(20))
    assert (summary.ended, summary.enriched) == (1, 1)
    assert (summary.sessions_ended, summary.sessions_enriched) == (2, 2)


def test_an_absent_call_is_not_enriched() -> None:
    board = board_with(truth())

    board.apply_change(change("call.absent"), at(60))

    assert board.summarize(at(60)).enriched == 0


def test_a_revived_call_is_live_again() -> None:
    board = board_with(truth())
    board.apply_change(change("call.ended"), at(5))

    line = board.apply_change(change("call.revived"), at(6))

    assert line is not None
    assert line.stage == "live"


def test_changes_of_other_calls_are_ignored() -> None:
    assert board_with(truth()).apply_change(change("call.live", 9), at(1)) is None


def test_the_board_is_settled_when_all_calls_are_complete() -> None:
    board = board_with(truth(session(1)), truth(session(2)))
    for line in board.lines():
        assert not board.is_settled(at(20))
        line.is_complete = True

    assert board.is_settled(at(20))
    assert not board.is_settled(at(9))
    assert board.last_end == at(10)


def test_lines_are_open_from_their_start_until_they_are_complete() -> None:
    board = board_with(truth())
    (line,) = board.lines()

    assert board.open_lines(at(-1)) == []
    assert board.open_lines(at(0)) == [line]
    line.is_complete = True
    assert board.open_lines(at(20)) == []


def test_a_parked_note_is_joined_when_the_call_has_it() -> None:
    board = board_with(truth())
    (line,) = board.lines()
    (attachment,) = attachments_before("outbound_busy", line.session_id)
    line.sent.append(SentAttachment(attachment, parked=True))

    board.apply_call(line, call())
    assert (board.summarize(at(1)).parked, board.summarize(at(1)).parked_joined) == (1, 0)

    board.apply_call(line, call(notes=[{"externalId": attachment.key, "text": attachment.body["text"]}]))
    assert (board.summarize(at(1)).joined, board.summarize(at(1)).parked_joined) == (1, 1)
    assert describe_attachments(line.sent) == "note (was parked)"


def test_attachments_are_summarized_in_words() -> None:
    attachments = [
        SentAttachment(attachment, parked=False) for attachment in attachments_after("1001", "answered")
    ]
    score = attachments[1].attachment.body["score"]

    assert describe_attachments(attachments) == f"note, mood {score:+.1f}"
    assert (
        describe_attachments([SentAttachment(attachments_after("1", "missed")[0], parked=False)])
        == "call back"
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "Dana Field → +15550100101"),
        ({"to": {"extensionNumber": "101"}}, "Dana Field → 101"),
        ({"from": None, "to": None}, "? → ?"),
        ({"queueName": "Sales", "to": {"name": "Ana Ruiz"}}, "Dana Field → Ana Ruiz (Sales)"),
        ({"queueName": "Sales", "to": {"name": "Sales"}}, "Dana Field → Sales"),
    ],
)
def test_sides_are_described_by_what_is_known(fields: dict[str, Any], text: str) -> None:
    assert describe_sides(call(**fields)) == text


def test_without_any_record_there_is_no_average() -> None:
    summary = board_with().summarize(at(0))

    assert (summary.median_seconds, summary.window_share, summary.started) == (None, None, 0)
