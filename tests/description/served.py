"""The service on loopback, with one call, for clients in other processes and languages."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from app.calls import accounts
from app.clock import SystemClock
from app.db import migrations
from app.db.engine import Database
from app.main import create_app
from app.process import Role
from app.settings import read_settings
from tests.conftest import SECRETS
from tests.factories_calls import ACCOUNT, seed_call


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Serve the API, without background work. Yields the environment of a client: address and key."""
    url = f"sqlite+aiosqlite:///{folder / 'aftercall.db'}"
    await _prepare(url)
    # A client's endpoint for webhooks is on the same machine.
    settings = read_settings(
        **SECRETS, database_url=url, push_allow_http=True, push_allow_networks="127.0.0.0/8"
    )
    app = create_app(settings, role=Role.WEB)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            # A request waits in the backlog of the socket until the service takes it.
            yield {
                "AFTERCALL_URL": f"http://127.0.0.1:{listener.getsockname()[1]}",
                "AFTERCALL_API_KEY": SECRETS["api_key"],
            }
        finally:
            server.should_exit = True
            await serving


async def _prepare(url: str) -> None:
    database = Database(url)
    try:
        await migrations.migrate(database)
        async with database.write() as db:
            now = SystemClock().now()
            await accounts.open_unbound(db, now)
            await accounts.bind(db, ACCOUNT, now)
        await seed_call(database)
    finally:
        await database.close()
