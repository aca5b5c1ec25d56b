"""The command `aftercall`, put together from one file per command.

A command's modules are imported when it runs.
"""

import sys
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.main import get_command, get_group

from app import __version__, log
from app.cli.group import Commands
from app.errors import AftercallError, CallerError

COMMANDS = {
    "serve": "app.cli.serve:serve",
    "migrate": "app.cli.migrate:migrate",
    "check": "app.cli.check:check",
    "replay": "app.cli.replay:replay",
    "backfill": "app.cli.backfill:backfill",
    "erase": "app.cli.erase:erase",
    "listen": "app.cli.listen:listen",
    "demo": "app.demo.cli:demo",
    "simulate": "app.sandbox.cli:simulate",
    "version": "app.cli.commands:version",
    "audit": "app.cli.audit:audit",
    "keys": "app.cli.keys:keys_app",
    "accounts": "app.cli.accounts:accounts_app",
}
"""Where each command is, in the order of the help: a function, or a Typer app with commands of its own."""

out, err = Console(), Console(stderr=True)


class _Imported(MutableMapping[str, Any]):
    """The commands by name, each imported when it is looked up: importing all takes longer than most run."""

    def __init__(self) -> None:
        self._added: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._added:
            module, _, attribute = COMMANDS[name].partition(":")
            self._added[name] = _make_command(name, getattr(import_module(module), attribute))
        return self._added[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._added[name] = command

    def __delitem__(self, name: str) -> None:
        del self._added[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _make_command(name: str, target: Any) -> Any:
    if isinstance(target, typer.Typer):
        return get_group(target)
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(target)
    return get_command(single)


class _LazyCommands(Commands):
    """The group of all commands, none of which is imported yet."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Imported()


app = typer.Typer(
    name="aftercall",
    cls=_LazyCommands,
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


def main() -> None:
    """Run a command. An error of ours is printed as one line that says what to do, without a traceback."""
    try:
        app()
    except AftercallError as error:
        detail = error.detail if isinstance(error, CallerError) else str(error)
        err.print(f"[red]aftercall:[/] {escape(detail)}", soft_wrap=True)
        sys.exit(2)
