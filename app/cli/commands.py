"""The commands: serve, migrate, demo, simulate, replay, backfill, keys, check."""

import importlib.util
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import structlog
import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from app import __version__, log
from app.accounts.connections import Connections
from app.calls import accounts
from app.cli.accounts import accounts_app
from app.cli.backfill import backfill
from app.cli.checks import Finding, check_accounts, run_checks
from app.cli.context import _with_database, _with_schema, err, out
from app.cli.group import Commands, run_to_end
from app.cli.keys import keys_app
from app.cli.replay import replay_calls
from app.clock import SystemClock
from app.db.engine import Database
from app.db.migrations import current_revision
from app.db.migrations import migrate as migrate_database
from app.demo.cli import demo
from app.enrichment.call_log.gaps import Sweep
from app.enrichment.rules import reading_plan, sweep_rules
from app.errors import AftercallError, CallerError
from app.ids import AccountId
from app.settings import Settings, read_settings
from app.simulator.cli import simulate
from app.vault import Vault

app = typer.Typer(
    name="aftercall",
    cls=Commands,
    help="From hang-up to enriched call record: the microservice between RingCentral and a CRM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys_app, name="keys")
app.add_typer(accounts_app, name="accounts")
app.command()(demo)
app.command()(simulate)

logger = structlog.get_logger(__name__)


@app.callback()
def prepare() -> None:
    """Commands say themselves what they have to say; those that go on for long set up their own log."""
    log.configure("critical", "console")


def _http_protocol(settings: Settings) -> Any:
    """Return uvicorn's protocol with our patience; where its parser is not installed, uvicorn's own choice."""
    if importlib.util.find_spec("httptools") is None:
        return "auto"
    from app.api.http_protocol import patient_protocol

    return patient_protocol(settings.request_seconds)


@app.command()
def migrate(
    revision: Annotated[
        str, typer.Argument(help="Revision to go to; -1 is one step down, base is empty.")
    ] = "head",
) -> None:
    """Bring the database's schema up to date (or down)."""

    async def run(database: Database) -> None:
        await migrate_database(database, revision)
        out.print(f"The schema is at {await current_revision(database) or 'base'}.")

    _with_database(run)


@app.command()
def check() -> None:
    """Look at settings, database, credentials and subscription; a line each, with what to do about it."""
    findings = run_to_end(run_checks())
    for finding in findings:
        out.print(_line(finding), soft_wrap=True)
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


@accounts_app.command("check")
def check_credentials() -> None:
    """Try the credentials of all accounts; a line each, with what to do about it."""
    settings = read_settings()
    vault = Vault(settings.secrets()[0])

    async def run(database: Database) -> None:
        findings = await check_accounts(settings, database, vault, SystemClock())
        for finding in findings:
            out.print(_line(finding), soft_wrap=True)
        if not all(finding.is_well for finding in findings):
            raise typer.Exit(1)

    _with_schema(run)


def _line(finding: Finding) -> str:
    mark = "[green]ok[/]    " if finding.is_well else "[red]not ok[/]"
    return f"{mark} [bold]{escape(finding.what)}[/]: {escape(finding.detail)}"


@app.command()
def replay(
    account: Annotated[
        str, typer.Option(help="Account id; ~ is the account of the service's own credentials.")
    ] = "~",
    session: Annotated[str | None, typer.Option(help="Only this telephonySessionId.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only deliveries received after this moment (UTC).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare only; write nothing.")] = False,
) -> None:
    """Rebuild calls from the raw deliveries and records that were kept, and say whether anything differs."""

    async def run(database: Database) -> None:
        report = await replay_calls(
            database,
            SystemClock(),
            read_settings(),
            AccountId(account),
            session=session,
            since=since,
            write=not dry_run,
        )
        verb = "would differ" if dry_run else "mended"
        out.print(
            f"{report.calls} calls rebuilt from {report.deliveries} deliveries: {report.same} the same, {len(report.different)} {verb}."
        )
        for call_id, what in report.different.items():
            out.print(f"  {call_id}: {', '.join(what)}")

    _with_schema(run)


@app.command("backfill")
def backfill_calls(
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
                return await backfill(
                    database, clock, connections, reading_plan(settings), sweep_rules(settings), account_id, begin,
                    end, page_size=settings.active_calls_page_size, report=report,
                )  # fmt: skip
    finally:
        await database.close()


@app.command()
def version() -> None:
    """Print the version."""
    out.print(__version__)


def main() -> None:
    """Run a command; an error of ours is one line that says what to do, not a traceback."""
    try:
        app()
    except AftercallError as error:
        detail = error.detail if isinstance(error, CallerError) else str(error)
        err.print(f"[red]aftercall:[/] {escape(detail)}", soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
