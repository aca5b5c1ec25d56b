"""The commands: serve, migrate, demo, simulate, replay, backfill, keys, check."""

import asyncio
import gc
import importlib.util
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import structlog
import typer
import uvicorn
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from app import __version__, log
from app.backfill import backfill
from app.calls import accounts, keys
from app.checks import Finding, check_accounts, run_checks
from app.clock import SystemClock
from app.db.engine import Database
from app.db.migrations import check_schema, current_revision
from app.db.migrations import migrate as migrate_database
from app.demo.cli import demo
from app.dependencies import CONNECTOR_SCOPES, Scope
from app.enrichment.connections import Connections
from app.enrichment.credentials import rotate
from app.enrichment.gaps import Sweep
from app.errors import AftercallError, CallerError, SettingsError
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.main import Process, Role, create_app, reading_plan, sweep_rules
from app.ops.accounts_cli import accounts_app
from app.ops.commands import Commands, run_to_end, wait_for_sqlite
from app.replay import replay_calls
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
keys_app = typer.Typer(no_args_is_help=True, help="API keys of connectors and operators; the secret key.")
app.add_typer(keys_app, name="keys")
app.add_typer(accounts_app, name="accounts")
app.command()(demo)
app.command()(simulate)

out = Console()
err = Console(stderr=True)
logger = structlog.get_logger(__name__)


@app.callback()
def prepare() -> None:
    """Commands say themselves what they have to say; those that go on for long set up their own log."""
    log.configure("critical", "console")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    role: Annotated[
        Role, typer.Option(help="web answers requests, worker does the background work.")
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
    _Server(config, service.state.process).run()


def _http_protocol(settings: Settings) -> Any:
    """Return uvicorn's protocol with our patience; where its parser is not installed, uvicorn's own choice."""
    if importlib.util.find_spec("httptools") is None:
        return "auto"
    from app.http_protocol import patient_protocol

    return patient_protocol(settings.request_seconds)


class _Server(uvicorn.Server):
    """Tells the process when it serves and when it stops, and calms the garbage collector."""

    def __init__(self, config: uvicorn.Config, process: Process) -> None:
        super().__init__(config)
        self._process = process

    async def serve(self, sockets: Any = None) -> None:
        try:
            await super().serve(sockets)
        finally:
            await self._process.database.close()
            await wait_for_sqlite()

    async def startup(self, sockets: Any = None) -> None:
        # Before the lifespan, in which an error would be logged with its traceback. Raises what `Commands` explains.
        await self._process.prepare_database()
        await super().startup(sockets=sockets)
        if not self.started:
            return
        # What start-up made lives as long as the process: a collector that does not walk it again cuts the p99.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 25, 50)
        logger.info("serving", **_particulars(self._process, self.servers))
        self._process.serving.set()

    async def shutdown(self, sockets: Any = None) -> None:
        # Streams and long polls end by themselves, so that nobody has to be cut off.
        self._process.services.stopping.set()
        await super().shutdown(sockets=sockets)


def _particulars(process: Process, servers: Sequence[asyncio.Server]) -> dict[str, Any]:
    """Return what an operator wants to know of a process that has just begun to serve."""
    addresses = [
        f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        for server in servers
        for host, port, *_ in (listening.getsockname() for listening in server.sockets)
    ]
    return {
        "version": __version__,
        "role": process.role.value,
        "database": process.database.url.get_backend_name(),
        "address": ", ".join(addresses),
        "docs": f"{process.settings.public_url or addresses[0]}/docs" if addresses else None,
    }


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


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="Who uses the key.")] = "connector",
    account: Annotated[
        str, typer.Option(help="RingCentral account id; ~ is the service's own account.")
    ] = "~",
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help=f"What it may do; repeat. Default: what a connector needs, {' and '.join(CONNECTOR_SCOPES)}."
        ),
    ] = None,
) -> None:
    """Make an API key and print it once; only its digest is kept."""

    async def run(database: Database) -> None:
        await migrate_database(database)
        async with database.write() as db:
            now = SystemClock().now()
            await accounts.open_unbound(db, now)
            created = await keys.create_key(
                db, AccountId(account), name, now, tuple(scope or CONNECTOR_SCOPES)
            )
        # The key alone on standard output, so that a script can take it.
        err.print(
            f"Key {created.info.key_id} for account {escape(account)}. It may {', '.join(created.info.scopes)}. It is shown this once:"
        )
        print(created.plain)  # noqa: T201

    _with_database(run)


@keys_app.command("list")
def list_keys(account: Annotated[str, typer.Option(help="Account id.")] = UNBOUND_ACCOUNT) -> None:
    """Show the keys of an account."""

    async def run(database: Database) -> None:
        table = Table("name", "scopes", "created", "revoked")
        # An id that is cut short cannot be revoked by it.
        table.add_column("id", no_wrap=True, overflow="ignore", min_width=30)
        async with database.read() as db:
            for info in await keys.list_keys(db, AccountId(account)):
                table.add_row(
                    escape(info.name),
                    " ".join(info.scopes),
                    f"{info.created_at:%Y-%m-%d}",
                    f"{info.revoked_at:%Y-%m-%d}" if info.revoked_at else "",
                    info.key_id,
                )
        out.print(table)

    _with_schema(run)


@keys_app.command("revoke")
def revoke_key(
    key_id: str, account: Annotated[str, typer.Option(help="Account id.")] = UNBOUND_ACCOUNT
) -> None:
    """Make a key useless at once."""

    async def run(database: Database) -> None:
        async with database.write() as db:
            if not await keys.revoke_key(db, AccountId(account), key_id, SystemClock().now()):
                raise SettingsError(
                    f"account {account} has no key {key_id} that is in force; `aftercall keys list` shows them"
                )
        out.print(f"Revoked {escape(key_id)}.")

    _with_schema(run)


@keys_app.command("rotate-secrets")
def rotate_secrets() -> None:
    """Encrypt stored credentials anew with the first key of AFTERCALL_SECRET_KEY, so that the others can go."""
    vault = Vault(read_settings().secrets()[0])

    async def run(database: Database) -> None:
        async with database.write() as db:
            done = await rotate(db, vault)
        out.print(f"{done.renewed} secrets encrypted anew, {done.kept} were so already.")
        if done.unreadable:
            err.print(
                f"{done.unreadable} can be read with none of the keys; `aftercall accounts list` says whose."
            )
            raise typer.Exit(1)

    _with_schema(run)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(__version__)


def _with_schema(run: Callable[[Database], Awaitable[None]]) -> None:
    """Run what needs the tables to be there. Raises SchemaMismatch if they are not, or are of another version."""

    async def checked(database: Database) -> None:
        await check_schema(database)
        await run(database)

    _with_database(checked)


def _with_database(run: Callable[[Database], Awaitable[None]]) -> None:
    settings: Settings = read_settings()

    async def opened() -> None:
        database = Database(settings.database_url, direct_url=settings.database_direct_url)
        try:
            await run(database)
        finally:
            await database.close()

    run_to_end(opened())


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
