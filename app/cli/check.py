"""`aftercall check` and `aftercall accounts check`: what works, and what to do about the rest."""

from collections.abc import Iterable

import typer
from rich.markup import escape

from app.cli.context import CommandContext, out, run_with_database
from app.cli.group import run_to_end
from app.ops.checks.results import CheckResult
from app.ops.checks.service import check_accounts, run_checks


def check() -> None:
    """Check settings, database, credentials and subscription; a line each, with what to do."""
    _report(run_to_end(run_checks()))


def check_credentials() -> None:
    """Check the credentials of all accounts; a line each, with what to do."""

    async def run(context: CommandContext) -> None:
        _report(await check_accounts(context.settings, context.database, context.vault, context.clock))

    run_with_database(run)


def _report(results: Iterable[CheckResult]) -> None:
    """Print the lines. Raises typer.Exit(1) if a check failed."""
    failed = False
    for result in results:
        out.print(_line(result), soft_wrap=True)
        failed = failed or not result.ok
    if failed:
        raise typer.Exit(1)


def _line(result: CheckResult) -> str:
    mark = "[green]ok[/]    " if result.ok else "[red]not ok[/]"
    return f"{mark} [bold]{escape(result.subject)}[/]: {escape(result.detail)}"
