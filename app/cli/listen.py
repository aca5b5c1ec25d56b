"""`aftercall listen`: have changes sent to an address of this machine, for development."""

import asyncio
from contextlib import suppress
from typing import Annotated

import httpx
import typer
from rich.markup import escape

from app.cli.context import err, out
from app.clock import SystemClock
from app.errors import SettingsError
from app.push.endpoints.model import Payload
from app.push.endpoints.secrets import new_secret
from app.push.listening import WAIT_SECONDS, Forwarding, Listener
from app.push.payloads.signatures import secret_key

_ANSWER_SECONDS = 15.0


def listen(
    forward: Annotated[str, typer.Option(help="Where to post, such as http://localhost:3000/hook.")],
    key: Annotated[str, typer.Option(envvar="AFTERCALL_API_KEY", help="An API key that may read calls.")],
    url: Annotated[str, typer.Option(help="The address of the service.")] = "http://127.0.0.1:8000",
    types: Annotated[
        list[str] | None, typer.Option(help="Types of changes, such as call.*; repeat for more.")
    ] = None,
    payload: Annotated[Payload, typer.Option(help="With or without the call.")] = Payload.THIN,
    cursor: Annotated[str, typer.Option(help="Send what follows this cursor; 0 is the beginning.")] = "now",
    secret: Annotated[
        str | None, typer.Option(help="Sign with this secret (whsec_…); default: a new one.")
    ] = None,
) -> None:
    """Post each change to an address of this machine, signed like a webhook, and print what it answered."""
    signed_with = secret or new_secret().text
    try:
        secret_key(signed_with)
    except ValueError as error:
        raise SettingsError(f"--secret {error}") from error
    # Only the secret goes to standard output, so that a script can read it.
    err.print("Messages are signed with this secret:")
    print(signed_with, flush=True)  # noqa: T201
    forwarding = Forwarding(forward, signed_with, payload, tuple(types or ()), cursor)

    async def run() -> None:
        headers = {"Authorization": f"Bearer {key}"}
        patience = httpx.Timeout(_ANSWER_SECONDS, read=WAIT_SECONDS + _ANSWER_SECONDS)
        async with (
            httpx.AsyncClient(base_url=url, headers=headers, timeout=patience) as api,
            httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as target,
        ):
            await Listener(forwarding, SystemClock(), api, target, lambda line: out.print(escape(line))).run()

    with suppress(KeyboardInterrupt):
        asyncio.run(run())
