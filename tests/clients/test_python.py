"""The Python client against the service, and what is made of the description."""

import asyncio
import importlib.util
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from aftercall_client import Aftercall, AsyncAftercall, NotFound, Unauthenticated, Unreachable, is_temporary
from tests.description.released import describe
from tests.description.served import serve

CLIENT = Path(__file__).parents[2] / "clients/python"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    async with serve(tmp_path) as environment:
        yield environment


async def test_the_async_client_reads_writes_and_follows(service: dict[str, str]) -> None:
    async with AsyncAftercall(service["AFTERCALL_URL"], service["AFTERCALL_API_KEY"], retries=0) as client:
        (call,) = [call async for call in client.list_calls(stage=["bootstrapped"], main=True)]
        assert (await client.wait_for(call["sessionId"] or "", timeout=5))["id"] == call["id"]
        link = await client.put_link(call["id"], "hubspot", {"type": "call", "id": "501"})
        assert link["objects"] == [{"type": "call", "id": "501"}]
        assert (await client.get_link(call["id"], "hubspot"))["crm"] == "hubspot"
        shown = await client.get_call(
            call["id"], include=["insights", "projections.generic"], fields="id,notes"
        )
        assert sorted(shown) == ["id", "included", "notes"]
        note = await client.add_note(call["id"], {"text": "Call back."}, idempotency_key="once")
        again = await client.add_note(call["id"], {"text": "Call back."}, idempotency_key="once")
        assert note["id"] == again["id"]
        await client.delete_note(call["id"], note["id"])
        assert (await client.list_notes(call["id"]))["data"] == []
        seen = []
        async for change in client.follow(None, types=["link.*", "note.*"], wait=1):
            seen.append(change["type"])
            if change["type"] == "note.deleted":
                break
        assert seen == ["link.set", "note.created", "note.deleted"]
        with pytest.raises(NotFound):
            await client.get_call("s-unknown")


async def test_the_sync_client_does_the_same(service: dict[str, str]) -> None:
    def use() -> list[Any]:
        with Aftercall(service["AFTERCALL_URL"], service["AFTERCALL_API_KEY"], retries=0) as client:
            (call,) = client.list_calls(limit=1)
            client.put_sentiment(call["id"], "hubspot", {"label": "positive"})
            for change in client.follow(None, types=["sentiment.set"], wait=1):
                return [client.get_me()["account"]["accountId"], change["callId"] == call["id"]]
        raise AssertionError

    assert await asyncio.to_thread(use) == ["908070001", True]


async def test_a_wrong_key_is_a_problem(service: dict[str, str]) -> None:
    async with AsyncAftercall(service["AFTERCALL_URL"], "ak_wrong", retries=0) as client:
        with pytest.raises(Unauthenticated) as raised:
            await client.get_me()
    assert raised.value.request_id


async def test_a_service_that_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    async with AsyncAftercall(address, "ak_any", retries=0) as client:
        with pytest.raises(Unreachable) as raised:
            await client.get_me()
    with Aftercall(address, "ak_any", retries=0) as sync_client, pytest.raises(Unreachable) as sync_raised:
        sync_client.get_me()
    for error in (raised.value, sync_raised.value):
        assert str(error).endswith(f"ECONNREFUSED {address.removeprefix('http://')}")
        assert isinstance(error.__cause__, httpx.ConnectError)
        assert is_temporary(error)


async def test_followers_of_a_wrong_address_hear_why_nothing_comes() -> None:
    heard: list[tuple[Exception, float]] = []

    class Enough(Exception):
        pass

    def hear(error: Exception, seconds: float) -> None:
        heard.append((error, seconds))
        raise Enough

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as own:
        client = AsyncAftercall("http://wrong.example", "ak_any", on_retry=hear, client=own)
        with pytest.raises(Enough):
            await anext(client.follow())
    with httpx.Client(transport=httpx.MockTransport(refuse)) as own_sync:
        sync_client = Aftercall("http://wrong.example", "ak_any", on_retry=hear, client=own_sync)
        with pytest.raises(Enough):
            next(sync_client.follow())
    assert [str(error).partition("attempts: ")[2] for error, _ in heard] == [
        "ConnectError wrong.example: refused"
    ] * 2
    assert all(seconds > 0 for _, seconds in heard)


def test_the_sync_client_is_the_async_one_without_await() -> None:
    """Whoever changes one changes the other."""
    package = CLIENT / "aftercall_client"
    text = (package / "async_client.py").read_text()
    for found, instead in (
        (r"The async client", "The sync client"),
        (r"\bawait asyncio\.", "time."),
        (r"\b(async|await) ", ""),
        (r"import asyncio\n", ""),
        (r"AsyncAftercall", "Aftercall"),
        (r"AsyncClient", "Client"),
        (r"AsyncIterator", "Iterator"),
        (r"__a(enter|exit)__", r"__\1__"),
        (r"\baclose\b", "close"),
    ):
        text = re.sub(found, instead, text)
    # The formatter breaks lines elsewhere.
    flat = [re.sub(r"[\s,()]+", "", one) for one in (text, (package / "sync_client.py").read_text())]
    assert flat[0] == flat[1]


def test_the_models_are_those_of_the_description() -> None:
    """If this fails, run `python clients/python/generate.py` and `make format`."""
    made = load_generator().write(describe()).replace("'", '"')
    written, committed = (
        re.sub(r"[\s,()]+", "", text) for text in (made, (CLIENT / "aftercall_client/models.py").read_text())
    )
    assert written == committed


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_models", CLIENT / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
