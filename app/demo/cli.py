"""The command `demo`."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from app.demo.options import DEFAULT_CALLS_PER_MINUTE, DEFAULT_SEED, DEFAULT_SPEED, Options
from app.demo.screen import Terminal
from app.demo.show import run


def demo(
    calls: Annotated[
        int | None, typer.Option(min=1, help="Stop playing after so many calls; without, play on.")
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.1, max=100.0, help="How many times as fast as life everything goes.")
    ] = DEFAULT_SPEED,
    calls_per_minute: Annotated[
        float, typer.Option(min=0.01, max=1000.0, help="How busy the company is, in its own minutes.")
    ] = DEFAULT_CALLS_PER_MINUTE,
    seed: Annotated[int, typer.Option(help="The same seed plays the same day.")] = DEFAULT_SEED,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The service's port. Default: 8000, or any if that is taken."),
    ] = None,
    ends: Annotated[
        bool,
        typer.Option(
            "--exit",
            help="End when all calls have settled; exit code 0 only if every call got its record. Needs --calls.",
        ),
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the scratch folder with database and log.")
    ] = False,
    database_url: Annotated[
        str | None, typer.Option(help="Use this database instead of SQLite in the scratch folder.")
    ] = None,
) -> None:
    """Play a busy little company: a simulated RingCentral, the real service, and a CRM connector. Ctrl-C ends it."""
    if ends and calls is None:
        raise typer.BadParameter("--exit waits for the last call; say with --calls how many to play")
    options = Options(
        calls=calls,
        speed=speed,
        calls_per_minute=calls_per_minute,
        seed=seed,
        port=port,
        ends=ends,
        keeps_scratch=keep,
        database_url=database_url,
    )
    scratch = Path(tempfile.mkdtemp(prefix="aftercall-demo-"))
    console = Terminal(highlight=False)
    try:
        code = asyncio.run(run(options, scratch, console))
    finally:
        if keep:
            console.print(f"Database and log are in {scratch}", soft_wrap=True, markup=False)
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    raise typer.Exit(code)
