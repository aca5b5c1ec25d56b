"""What the Python client does when the service is away, busy or restored: its steps, without I/O or time."""

from typing import Any

import httpx
import pytest

from aftercall_client.errors import Busy, Forbidden, NotFound, Problem, ServiceFailed, Unreachable
from aftercall_client.steps import (
    Give,
    Send,
    Steps,
    Wait,
    follow,
    pages,
    path,
    pause_after,
    query,
    send,
    wait_for,
)

GET = Send("GET", "/v1/me")
CALL = {
    "id": "call_1", "sessionId": "12", "telephonySessionId": "s-1", "version": 4, "stage": "final",
    "updatedAt": "2026-03-10T18:09:22.480Z",
}  # fmt: skip


def ok(body: Any, **headers: str) -> httpx.Response:
    return httpx.Response(200, json=body, headers=headers)


def problem(status: int, kind: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    return httpx.Response(status, json={"type": f"/problems/{kind}", "detail": "…", **more}, headers=headers)


def page(*cursors: str, after: str) -> httpx.Response:
    data = [{"type": "call.final", "cursor": cursor, "callId": f"call_{cursor}"} for cursor in cursors]
    return ok({"data": data, "nextCursor": after, "hasMore": False})


def play(steps: Steps, *answers: httpx.Response | None, most: int = 100) -> tuple[list[Any], Any]:
    """Take steps with these answers. Returns the steps and the result; stops when an answer is lacking."""
    waiting, taken = list(answers), []
    try:
        step = next(steps)
        for _ in range(most):
            taken.append(step)
            if isinstance(step, Send):
                if not waiting:
                    break
                step = steps.send(waiting.pop(0))
            else:
                step = next(steps)
    except StopIteration as end:
        assert waiting == []
        return taken, end.value
    return taken, None


def cursors_sent(taken: list[Any]) -> list[str | None]:
    return [dict(step.params).get("cursor") for step in taken if isinstance(step, Send)]


def given(taken: list[Any]) -> list[Any]:
    return [step.item for step in taken if isinstance(step, Give)]


# Requests


def test_a_request_is_repeated_while_that_may_help() -> None:
    busy = problem(429, "too-many-requests", {"Retry-After": "7"})
    answers = (None, problem(503, "storage-unavailable"), busy, ok({"a": 1}))
    taken, response = play(send(GET, 3), *answers)
    assert response.json() == {"a": 1}
    pauses = [step.seconds for step in taken if isinstance(step, Wait)]
    assert len(pauses) == 3
    assert pauses[2] == 7


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, Unreachable),
        (problem(503, "storage-unavailable"), ServiceFailed),
        (problem(429, "too-many-requests"), Busy),
        (httpx.Response(502, text="<html>Bad gateway</html>"), ServiceFailed),
    ],
)
def test_after_the_last_attempt_the_failure_is_raised(
    answer: httpx.Response | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        play(send(GET, 1), answer, answer)


def test_a_refusal_is_raised_at_once() -> None:
    with pytest.raises(Forbidden) as raised:
        play(send(GET, 5), problem(403, "forbidden", requiredScope="notes:write", fault="caller"))
    assert raised.value.problem["requiredScope"] == "notes:write"
    assert raised.value.fault == "caller"


def test_pauses_grow_are_spread_and_end_somewhere() -> None:
    assert [pause_after(attempt, None, 1.0) for attempt in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert pause_after(3, None, 0.0) == 1.0
    assert pause_after(1000, None, 1.0) == 30.0
    assert pause_after(1, httpx.Response(429, headers={"Retry-After": "999999"}), 1.0) == 300.0
    assert pause_after(1, httpx.Response(429, headers={"Retry-After": "soon"}), 1.0) == 0.5


def test_names_and_values_become_those_of_the_api() -> None:
    assert query(unlinked_crm="hubspot", main=True, stage=["final", "absent"], cursor=None) == (
        ("unlinkedCrm", "hubspot"),
        ("main", "true"),
        ("stage", "final"),
        ("stage", "absent"),
    )
    assert path("calls", "s-1/../x?", "links", "a b") == "/v1/calls/s-1%2F..%2Fx%3F/links/a%20b"
    assert path("calls", "~") == "/v1/calls/~"


def test_a_list_is_read_to_its_end() -> None:
    first, second = ok({"data": [1, 2], "nextCursor": "c"}), ok({"data": [3], "nextCursor": None})
    taken, _ = play(pages(Send("GET", "/v1/calls", (("main", "true"),)), 0), first, second)
    assert given(taken) == [1, 2, 3]
    assert taken[3].params == (("main", "true"), ("cursor", "c"))


# Following


def test_following_goes_on_after_whatever_passes() -> None:
    answers = (
        page("1", "2", after="2"),
        None,
        None,
        problem(429, "too-many-requests", {"Retry-After": "3"}),
        problem(503, "storage-unavailable"),
        page(after="5"),
        page("6", after="6"),
    )
    taken, _ = play(follow("0", (("types", "call.final"),), 30), *answers)
    assert [change["cursor"] for change in given(taken)] == ["1", "2", "6"]
    assert cursors_sent(taken) == ["0", "2", "2", "2", "2", "2", "5", "6"]
    assert all(dict(step.params)["types"] == "call.final" for step in taken if isinstance(step, Send))


def test_a_revoked_key_ends_following() -> None:
    with pytest.raises(Problem):
        play(follow("0", (), 30), page(after="0"), problem(401, "unauthenticated"))


def test_an_expired_cursor_gives_each_call_then_goes_on() -> None:
    """Only the last one has the new cursor: whoever crashes before it begins again."""
    answers = (
        problem(410, "cursor-expired", startFrom="90"),
        ok({"data": [CALL, CALL | {"id": "call_2"}], "nextCursor": "p"}),
        None,
        ok({"data": [CALL | {"id": "call_3"}], "nextCursor": None}),
        page("91", after="91"),
    )
    taken, _ = play(follow("7", (), 30), *answers)
    assert [(change["type"], change["callId"], change["cursor"]) for change in given(taken)] == [
        ("resync", "call_1", "7"),
        ("resync", "call_2", "7"),
        ("resync", "call_3", "90"),
        ("call.final", "call_91", "91"),
    ]
    assert cursors_sent(taken)[-2:] == ["90", "91"]


def test_a_restored_database_is_read_from_where_it_says() -> None:
    answers = (problem(410, "history-changed", startFrom="0"), page("1", after="1"))
    taken, _ = play(follow("7", (), 30), *answers)
    assert cursors_sent(taken) == ["7", "0", "1"]


def test_a_restore_during_a_resync_begins_again() -> None:
    answers = (
        problem(410, "cursor-expired", startFrom="90"),
        problem(410, "history-changed", startFrom="0"),
        problem(410, "history-changed", startFrom="0"),
        page("1", after="1"),
    )
    taken, _ = play(follow("7", (), 30), *answers)
    assert cursors_sent(taken)[-2:] == ["0", "1"]


# Waiting


class Clock:
    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_call_is_returned_once_it_has_reached_the_stage() -> None:
    answers = (
        problem(404, "not-found"),
        None,
        ok(CALL | {"stage": "ended"}, **{"Aftercall-Reached": "false"}),
        ok(CALL, **{"Aftercall-Reached": "true"}),
    )
    taken, found = play(wait_for("12", "final", 600, Clock(1)), *answers)
    assert found == CALL
    assert all(step.path == "/v1/calls/12" for step in taken if isinstance(step, Send))


def test_an_absent_call_is_returned() -> None:
    absent = ok(CALL | {"stage": "absent"}, **{"Aftercall-Reached": "false"})
    assert play(wait_for("12", "final", 600, Clock(1)), absent)[1]["stage"] == "absent"


def test_waiting_ends() -> None:
    never = ok(CALL | {"stage": "live"}, **{"Aftercall-Reached": "false"})
    with pytest.raises(TimeoutError):
        play(wait_for("12", "final", 10, Clock(5)), *[never] * 10)
    with pytest.raises(Unreachable):
        play(wait_for("12", "final", 10, Clock(5)), *[None] * 10)


def test_waiting_does_not_cure_a_refusal() -> None:
    with pytest.raises(Problem):
        play(wait_for("12", "final", 600, Clock(1)), problem(410, "call-erased"))
    with pytest.raises(NotFound):
        play(send(GET, 3), problem(404, "not-found"))
