"""`aftercall check` and `aftercall accounts check`: what is well, and what to do about the rest."""

import typer
from rich.markup import escape

from app.cli.context import out, with_schema
from app.cli.group import run_to_end
from app.clock import SystemClock
from app.db.engine import Database
from app.ops.checks.service import CheckResult, check_accounts, run_checks
from app.settings import read_settings
from app.vault import Vault


def check() -> None:
    """Look at settings, database, credentials and subscription; a line each, with what to do about it."""
    findings = run_to_end(run_checks())
    for finding in findings:
        out.print(_line(finding), soft_wrap=True)
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


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

    with_schema(run)


def _line(finding: CheckResult) -> str:
    mark = "[green]ok[/]    " if finding.is_well else "[red]not ok[/]"
    return f"{mark} [bold]{escape(finding.what)}[/]: {escape(finding.detail)}"
