"""`aftercall listen` follows the feed and posts signed messages to an address."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from standardwebhooks import Webhook

from app.clock import SystemClock
from app.errors import SettingsError
from app.ids import AccountId
from app.push.endpoints.model import Payload
from app.push.endpoints.secrets import new_secret
from app.push.listening import Forwarding, Listener
from tests.conftest import open_client
from tests.factories_calls import CUSTOMER, seed_call
from tests.fakes.receiver import Receiver

SECRET = new_secret().text


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as opened:
        yield opened


@pytest.mark.parametrize("payload", list(Payload))
async def test_each_change_is_posted_and_printed(
    app: FastAPI, account: AccountId, api_key: str, receiver: Receiver, payload: Payload
) -> None:
    said: list[str] = []
    forwarding = Forwarding(receiver.url, SECRET, payload, ("call.*",), "0")
    async with open_client(app, api_key) as api, httpx.AsyncClient() as target:
        listener = Listener(forwarding, SystemClock(), api, target, said.append)
        call = await seed_call(app.state.services.database, account)
        cursor = await listener.step("0")
    (got,) = receiver.received
    message = Webhook(SECRET).verify(got.body, got.headers)
    assert message == got.message
    assert (got.id, got.change["callId"]) == (cursor, call.call_id)
    assert (CUSTOMER in got.body.decode()) == (payload is Payload.CALL)
    assert len(said) == 1
    assert said[0].startswith(f"call.bootstrapped  {cursor}  {call.call_id}  -> 204 (")


async def test_a_receiver_that_is_down_is_reported_and_a_refused_key_ends_it(
    app: FastAPI, account: AccountId, api_key: str, receiver: Receiver
) -> None:
    said: list[str] = []
    await seed_call(app.state.services.database, account)
    forwarding = Forwarding("http://127.0.0.1:1/", SECRET)
    async with open_client(app, api_key) as api, httpx.AsyncClient() as target:
        await Listener(forwarding, SystemClock(), api, target, said.append).step("0")
    assert "no answer" in said[0]
    async with open_client(app, "ak_nobody") as api, httpx.AsyncClient() as target:
        with pytest.raises(SettingsError, match="401"):
            await Listener(forwarding, SystemClock(), api, target, said.append).run()
