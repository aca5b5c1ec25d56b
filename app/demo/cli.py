"""The command `demo`."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import typer

from app.demo.launch import run
from app.demo.options import Options
from app.demo.screen import Terminal
from app.simulator.command_options import add_options, read_options

_NAMES = {"ends": "--exit", "keeps_scratch": "--keep"}


def demo(**given: Any) -> None:
    """Play a busy company: a simulated RingCentral, the real service and a CRM connector. Ctrl-C stops it."""
    options = read_options(Options, given, _NAMES)
    if options.ends and options.calls is None:
        raise typer.BadParameter(
            "--exit waits for the last call, so it needs the number of calls: add --calls"
        )
    scratch = Path(tempfile.mkdtemp(prefix="aftercall-demo-"))
    console = Terminal(highlight=False)
    try:
        code = asyncio.run(run(options, scratch, console))
    finally:
        if options.keeps_scratch:
            console.print(f"Database and log are in {scratch}", soft_wrap=True, markup=False)
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    raise typer.Exit(code)


add_options(demo, Options, _NAMES)
