"""Answers that are kept: one statement for a call that was shown, and never an earlier version."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.api.answers import KEPT_SECONDS, Answers
from app.api.dependencies import Services
from app.db.engine import Database
from tests.factories_calls import seed_call, touch
from tests.fakes.clock import START, FakeClock
from tests.fakes.statements import counted


def test_an_answer_is_found_for_its_version_alone(clock: FakeClock) -> None:
    answers = Answers(clock)
    answers.keep("call", 4, b"four")
    assert (answers.find("call", 4), answers.find("call", 5), answers.find("other", 4)) == (
        b"four",
        None,
        None,
    )
    answers.keep("call", 5, b"five")
    assert (answers.find("call", 4), answers.find("call", 5)) == (None, b"five")


def test_an_answer_is_kept_for_a_limited_time(clock: FakeClock) -> None:
    answers = Answers(clock)
    answers.keep("call", 4, b"four")
    clock.advance(KEPT_SECONDS - 0.1)
    assert answers.find("call", 4) == b"four"
    clock.advance(0.2)
    assert answers.find("call", 4) is None


def test_the_least_recently_used_answers_make_room(clock: FakeClock) -> None:
    answers = Answers(clock, most_bytes=10_000)
    for number in range(5):
        answers.keep(number, 1, b"x" * 1_000)
        assert answers.find(0, 1) is not None
    for number in range(5, 12):
        answers.keep(number, 1, b"x" * 1_000)
        assert answers.find(0, 1) is not None
    assert [number for number in range(12) if answers.find(number, 1)] == [0, 7, 8, 9, 10, 11]
    answers.keep(0, 1, b"x" * 20_000)
    assert all(answers.find(number, 1) is None for number in range(12))


def test_nothing_is_left_after_clear(clock: FakeClock) -> None:
    answers = Answers(clock, most_bytes=3_000)
    answers.keep(1, 1, b"x" * 1_000)
    answers.clear()
    assert answers.find(1, 1) is None
    for number in (2, 3):
        answers.keep(number, 1, b"x" * 900)
    assert answers.find(2, 1) is not None


async def get(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_call_that_was_shown_costs_one_statement(
    client: httpx.AsyncClient, services: Services, database: Database
) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.call_id}"
    shown = await get(client, path)
    with counted(database) as statements:
        assert await get(client, path) == shown
        assert (await get(client, "/v1/calls"))["data"] == [shown]
    assert len(statements) == 2
    call.queue_name = "Sales"
    await touch(database, call, "call.updated", START + timedelta(seconds=1))
    assert (await get(client, path))["queueName"] == "Sales"
    assert (await get(client, "/v1/calls"))["data"][0]["queueName"] == "Sales"


@pytest.mark.parametrize("path", ["/v1/calls", "/v1/calls/{call}"])
async def test_a_note_is_shown_at_once(client: httpx.AsyncClient, database: Database, path: str) -> None:
    call = await seed_call(database)
    path = path.format(call=call.call_id)
    await get(client, path)
    answer = await client.post(f"/v1/calls/{call.call_id}/notes", json={"text": "call back on Monday"})
    assert answer.status_code == 201, answer.text
    assert "call back on Monday" in (await client.get(path)).text
    note = answer.json()["id"]
    assert (await client.delete(f"/v1/calls/{call.call_id}/notes/{note}")).status_code == 204
    assert "call back on Monday" not in (await client.get(path)).text
