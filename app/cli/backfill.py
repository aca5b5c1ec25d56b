"""`aftercall backfill`: fetch the calls of a time range from the Call Log."""

from datetime import datetime
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from app import log
from app.calls import accounts
from app.cli.context import CommandContext, as_utc, err, out, run_with_database
from app.db.migrations import migrate
from app.enrichment.gaps import Sweep
from app.enrichment.rules import call_log_plan, sweep_rules
from app.enrichment.sweeps.backfill import backfill as run_backfill
from app.ids import AccountId
from app.settings import read_settings


def backfill(
    begin: Annotated[datetime, typer.Option("--from", help="Calls that started from this moment on (UTC).")],
    end: Annotated[
        datetime | None,
        typer.Option("--to", help="Calls that started before this moment (UTC); default: now."),
    ] = None,
    account: Annotated[
        str, typer.Option(help="Account id; ~ is the account of the service's own credentials.")
    ] = "~",
) -> None:
    """Fetch the calls of a time range from the Call Log. Interrupted, the same command continues."""
    # The progress bar shares the terminal with the log.
    log.configure("warning", read_settings().log_format)
    progress = _CallLogProgress()

    async def run(context: CommandContext) -> Sweep:
        settings, database, clock = context.settings, context.database, context.clock
        async with database.write() as db:
            await accounts.open_unbound(db, clock.now())
        async with context.connect("backfill") as (_, connections):
            with progress.bar:
                return await run_backfill(
                    database, clock, connections, call_log_plan(settings), sweep_rules(settings),
                    AccountId(account), as_utc(begin), end and as_utc(end), report=progress.update,
                )  # fmt: skip

    try:
        done = run_with_database(run, migrate)
    except KeyboardInterrupt:
        err.print("Interrupted. The same command continues from here.")
        raise typer.Exit(130) from None
    out.print(f"{done.records} records read, {done.found} calls were not known before.")


class _CallLogProgress:
    """The progress bar of a sweep."""

    def __init__(self) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[records]} records, {task.fields[found]} new calls"),
            TimeRemainingColumn(),
            console=err,
        )
        self._task = self.bar.add_task("Call Log", total=None, records=0, found=0)

    def update(self, sweep: Sweep) -> None:
        whole = ((sweep.to_at or sweep.from_at) - sweep.from_at).total_seconds()
        read = ((sweep.cursor_at or sweep.from_at) - sweep.from_at).total_seconds()
        self.bar.update(self._task, total=whole, completed=read, records=sweep.records, found=sweep.found)
