"""`aftercall serve`: run the service."""

import asyncio
import gc
import importlib.util
import resource
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import structlog
import typer
import uvicorn

from app import __version__, log
from app.cli.group import wait_for_sqlite
from app.main import create_app
from app.process import Process, Role
from app.settings import Settings, read_settings

logger = structlog.get_logger(__name__)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    role: Annotated[
        Role, typer.Option(help="web serves requests, worker does the background work.")
    ] = Role.ALL,
) -> None:
    """Run the service. Reads AFTERCALL_* and RC_* from the environment; see docs/settings.md."""
    settings = read_settings()
    log.configure(settings.log_level, settings.log_format)
    service = create_app(settings, role=role)
    config = uvicorn.Config(
        service,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
        backlog=4096,
        http=_http_protocol(settings),
    )
    _allow_connections()
    _Server(config, service.state.process).run()


def _allow_connections() -> None:
    """Allow as many open connections as the system lets us: many systems begin with a limit of 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS reports a limit that it does not allow
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _http_protocol(settings: Settings) -> Any:
    """Return uvicorn's protocol with our time limit for requests, or uvicorn's default without its parser."""
    if importlib.util.find_spec("httptools") is None:
        return "auto"
    from app.api.middleware.http_protocol import patient_protocol

    return patient_protocol(settings.request_seconds)


class _Server(uvicorn.Server):
    """Tells the process when it serves and when it stops, and tunes the garbage collector."""

    def __init__(self, config: uvicorn.Config, process: Process) -> None:
        super().__init__(config)
        self._process = process

    async def serve(self, sockets: Any = None) -> None:
        try:
            await super().serve(sockets)
        finally:
            # When start-up fails, there was no lifespan that would close it.
            await self._process.database.close()
            await wait_for_sqlite()

    async def startup(self, sockets: Any = None) -> None:
        # Before the lifespan, which would log an error with its traceback. `Commands` explains it instead.
        await self._process.prepare_database()
        await super().startup(sockets=sockets)
        if not self.started:
            return
        # What start-up created lives as long as the process. Not visiting it in collections lowers the p99.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 25, 50)
        logger.info("serving", **_log_fields(self._process, self.servers))
        self._process.serving.set()

    async def shutdown(self, sockets: Any = None) -> None:
        # Streams and long polls end by themselves, so that no response is cut off.
        self._process.services.stopping.begin(self._process.clock.now())
        await super().shutdown(sockets=sockets)


def _log_fields(process: Process, servers: Sequence[asyncio.Server]) -> dict[str, Any]:
    """Return the log fields that describe a process which has just started to serve."""
    addresses = [
        f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        for server in servers
        for host, port, *_ in (one.getsockname() for one in server.sockets)
    ]
    return {
        "version": __version__,
        "role": process.role.value,
        "database": process.database.url.get_backend_name(),
        "address": ", ".join(addresses),
        "docs": f"{process.settings.public_url or addresses[0]}/docs" if addresses else None,
    }
