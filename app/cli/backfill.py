"""`aftercall backfill`: fetch the calls of a range from the Call Log."""

from datetime import UTC, datetime
from typing import Annotated

import httpx
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from app import log
from app.accounts.connections import Connections
from app.calls import accounts
from app.cli.context import err, out
from app.cli.group import run_to_end
from app.clock import SystemClock
from app.db.engine import Database
from app.db.migrations import migrate as migrate_database
from app.enrichment.call_log.backfill import backfill as run_backfill
from app.enrichment.call_log.gaps import Sweep
from app.enrichment.rules import call_log_plan, sweep_rules
from app.ids import AccountId
from app.settings import Settings, read_settings
from app.vault import Vault


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
    """Fetch the calls of a range from the Call Log. Interrupted, the same command goes on where it was."""
    settings = read_settings()
    log.configure("warning", settings.log_format)
    try:
        done = run_to_end(_backfill(settings, AccountId(account), _utc(begin), end and _utc(end)))
    except KeyboardInterrupt:
        err.print("Interrupted. The same command goes on from here.")
        raise typer.Exit(130) from None
    out.print(f"{done.records} records read, {done.found} calls were not known before.")


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


async def _backfill(
    settings: Settings, account_id: AccountId, begin: datetime, end: datetime | None
) -> Sweep:
    secret, _ = settings.secrets()
    clock, database = SystemClock(), Database(settings.database_url, direct_url=settings.database_direct_url)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]} records, {task.fields[found]} new calls"),
        TimeRemainingColumn(),
        console=err,
    )
    task = bar.add_task("Call Log", total=None, records=0, found=0)

    def report(sweep: Sweep) -> None:
        whole = ((sweep.to_at or sweep.from_at) - sweep.from_at).total_seconds()
        read = ((sweep.cursor_at or sweep.from_at) - sweep.from_at).total_seconds()
        bar.update(task, total=whole, completed=read, records=sweep.records, found=sweep.found)

    try:
        await migrate_database(database)
        async with database.write() as db:
            await accounts.open_unbound(db, clock.now())
        async with httpx.AsyncClient() as http:
            connections = Connections(settings, database, clock, Vault(secret), http, replica="backfill")
            with bar:
                return await run_backfill(
                    database, clock, connections, call_log_plan(settings), sweep_rules(settings), account_id, begin,
                    end, report=report,
                )  # fmt: skip
    finally:
        await database.close()
