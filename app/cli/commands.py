"""The command `aftercall`, put together from one file per command."""

import sys

import typer
from rich.markup import escape

from app import __version__, log
from app.cli.accounts import accounts_app
from app.cli.backfill import backfill
from app.cli.check import check, check_credentials
from app.cli.context import err, out
from app.cli.group import Commands
from app.cli.keys import keys_app
from app.cli.migrate import migrate
from app.cli.replay import replay
from app.cli.serve import serve
from app.demo.cli import demo
from app.errors import AftercallError, CallerError
from app.simulator.cli import simulate

app = typer.Typer(
    name="aftercall",
    cls=Commands,
    help="From hang-up to enriched call record: the microservice between RingCentral and a CRM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def prepare() -> None:
    """Silence the log: commands print their results. Long-running commands configure the log themselves."""
    log.configure("critical", "console")


def version() -> None:
    """Print the version."""
    out.print(__version__)


for command in (serve, migrate, check, replay, backfill, demo, simulate, version):
    app.command()(command)
accounts_app.command("check")(check_credentials)
app.add_typer(keys_app, name="keys")
app.add_typer(accounts_app, name="accounts")


def main() -> None:
    """Run a command. An error of ours is printed as one line that says what to do, without a traceback."""
    try:
        app()
    except AftercallError as error:
        detail = error.detail if isinstance(error, CallerError) else str(error)
        err.print(f"[red]aftercall:[/] {escape(detail)}", soft_wrap=True)
        sys.exit(2)
