"""`aftercall serve` as a process of its own, forked from one that has imported the service already.

Importing takes over a second of processor time, and the tests start the service a hundred times. That it
starts from nothing as well is tested in tests/integration/cli and by the demo.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "app.cli.serve",
        "tests.e2e.warm",
        "aiosqlite",
        "asyncpg",
        "uvicorn.lifespan.on",
        "uvicorn.protocols.http.httptools_impl",
    ]
)


def make_process(environment: Mapping[str, str], log: Path, *arguments: str) -> ForkServerProcess:
    """Return a process, not started yet, that runs `aftercall` in the folder of its log."""
    return _context.Process(target=_run, args=(dict(environment), log, arguments), daemon=True)


def _run(environment: dict[str, str], log: Path, arguments: tuple[str, ...]) -> None:
    # Nothing of the fork server's surroundings is left: it was started by the first test that needed it.
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(log.parent)
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(written, stream)
    os.close(written)
    sys.argv = ["aftercall", *arguments]
    from app.cli.commands import main

    main()
