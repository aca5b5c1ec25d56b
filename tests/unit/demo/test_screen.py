import io

from rich.console import Console

from app.demo.board import DemoBoard, DemoSummary, SentAttachment
from app.demo.judge import judge
from app.demo.notes import attachments_after
from app.demo.screen import Headline, Requests, Screen, list_problems, summarize
from app.sandbox.environment import Addresses

from .samples import at, call, change, truth

REQUESTS = Requests(heavy=17, total=20, refused=0)


def plain_screen(speed: float = 10.0) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(Console(file=out, width=80, highlight=False), speed), out


def played(speed: float = 10.0) -> DemoBoard:
    board = DemoBoard(speed, 120.0)
    board.add_call(1, truth())
    return board


def summary_of(board: DemoBoard) -> DemoSummary:
    return board.summarize(at(20))


def test_without_a_terminal_lines_are_neither_wrapped_nor_colored() -> None:
    screen, out = plain_screen()
    board = played()
    line = board.apply_change(change("call.bootstrapped"), at(10.5))
    assert line is not None
    line.sent += [
        SentAttachment(attachment, parked=False)
        for attachment in attachments_after(line.session_id, "answered")
    ]
    board.apply_call(line, call())

    with screen.open():
        screen.ended(line, at(10.1))
        screen.completed(line, at(10.5))
        screen.refresh([line], summary_of(board), REQUESTS, at(11))

    ended, found = out.getvalue().splitlines()
    assert ended.split()[1:] == ["ended", "Dana", "Field", "→", "+15550100101", "inbound", "direct"]
    assert "found  after   5.0 s (0.5 s real)  answered" in found
    assert "Dana Field → +15550100101" in found
    assert ended.index("Dana") == found.index("Dana")
    assert "\x1b" not in out.getvalue()


def test_at_real_time_seconds_are_printed_once() -> None:
    screen, out = plain_screen(speed=1.0)
    board = played(speed=1.0)
    line = board.apply_change(change("call.bootstrapped"), at(15.2))
    assert line is not None

    screen.completed(line, at(15.2))

    assert "after   5.2 s  " in out.getvalue()
    assert "real" not in out.getvalue()


def test_the_curl_command_is_on_one_line() -> None:
    screen, out = plain_screen()
    addresses = Addresses(service="http://127.0.0.1:8000", platform="http://sim", media="http://media")

    screen.headline(Headline("Northwind Tea", 4.0, addresses, "ak_demo_" + "x" * 40, "/tmp/x"))

    (line,) = [line for line in out.getvalue().splitlines() if "curl" in line]
    assert line.endswith("'http://127.0.0.1:8000/v1/calls?limit=3'")
    assert "http://127.0.0.1:8000/dashboard" in out.getvalue()


def test_the_sums_fit_on_one_line() -> None:
    board = played()
    board.apply_change(change("call.bootstrapped"), at(10.5))

    text = summarize(summary_of(board), REQUESTS)

    assert text.startswith(
        "1 ended, 1 enriched (100% in the window), median 5.0 s | 17 heavy requests, 0 × 429"
    )
    assert len(text) < 130


def test_the_table_lists_every_problem() -> None:
    screen, out = plain_screen()
    report = judge({1: truth()}, [call(2)], {})

    screen.table(summary_of(played()), REQUESTS, report)

    assert list_problems(report) == [
        "call 1 (inbound_direct): s-1: the service does not have this call",
        "the service has a call that the demo did not play: s-2",
    ]
    assert all(text in out.getvalue() for text in list_problems(report))
    assert "0 of 1 calls just as the simulator played them" in out.getvalue()


def test_on_a_terminal_current_calls_are_drawn_below() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=120, force_terminal=True, highlight=False), 10.0)
    board = played()
    (line,) = board.lines()

    with screen.open():
        screen.refresh([line], summary_of(board), REQUESTS, at(2))
        line.is_answered = True
        screen.refresh([line], summary_of(board), REQUESTS, at(5))
        screen.refresh([line] * 14, summary_of(board), REQUESTS, at(11))
        screen.ended(line, at(11))

    drawn = out.getvalue()
    assert "ringing   20 s" in drawn
    assert "talking   50 s" in drawn
    assert "hung up   10 s" in drawn
    assert "and 2 more" in drawn
    assert " ended  " not in drawn


def test_a_call_that_belongs_to_another_one_says_so() -> None:
    screen, out = plain_screen()
    board = played()
    line = board.apply_change(change("call.bootstrapped"), at(10.5))
    assert line is not None
    board.apply_call(line, call(conversation={"id": "conv_1", "mainCallId": "call_2", "isMain": False}))
    screen.completed(line, at(10.5))
    board.apply_call(line, call())
    screen.completed(line, at(10.5))
    side, main = out.getvalue().splitlines()
    assert "inbound direct, part of another call" in side
    assert "part of another call" not in main
