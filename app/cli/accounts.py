"""`aftercall accounts`: RingCentral accounts in addition to, or instead of, that of the environment."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from app.accounts.onboarding import Onboarding
from app.accounts.overview import NEEDED_SCOPES, load_overview, missing_scopes
from app.accounts.remedies import why_not_stored
from app.audit import COMMAND
from app.cli.check import check_credentials
from app.cli.context import CommandContext, out, run_with_database
from app.clock import SystemClock
from app.db.migrations import migrate
from app.errors import RingCentralError, SettingsError
from app.ids import AccountId
from app.ops.accounts.oauth import SignInFlow, invitation_address
from app.ops.problems.model import Subject, read_problem
from app.settings import read_settings
from app.vault import Vault

STANDARD_INPUT = "-"

accounts_app = typer.Typer(
    no_args_is_help=True,
    help="RingCentral accounts in addition to, or instead of, that of the environment.",
)


def _secret(value: str | None, name: str) -> str:
    """Return a secret; `-` reads a line of standard input, None prompts. Raises SettingsError if empty."""
    if value == STANDARD_INPUT:
        value = sys.stdin.readline()
    elif value is None:
        value = typer.prompt(name, hide_input=True)
    secret = value.strip()
    if not secret:
        raise SettingsError(f"{name}: no value was given")
    return secret


@accounts_app.command("add")
def add_account(
    jwt: Annotated[
        str | None,
        typer.Option(
            envvar="AFTERCALL_ACCOUNT_JWT",
            show_envvar=True,
            help="The JWT credential; `-` reads a line of standard input. Without it, the command prompts. "
            "Other users of the machine can read what is on the command line.",
        ),
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(help="The app's client id, if it is not that of RC_CLIENT_ID.")
    ] = None,
    client_secret: Annotated[
        str | None,
        typer.Option(
            envvar="AFTERCALL_ACCOUNT_CLIENT_SECRET",
            help="The app's client secret; `-` reads a line, and without it the command prompts.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Default: ext- and the user's extension id. Replaces the credentials of that name."
        ),
    ] = None,
) -> None:
    """Store a JWT credential, encrypted, after asking RingCentral whose it is."""
    # Both before the database is opened: a prompt may wait for minutes.
    jwt = _secret(jwt, "JWT credential")
    if client_id is not None:
        client_secret = _secret(client_secret, "Client secret")

    async def run(context: CommandContext) -> None:
        async with _onboarding(context) as onboarding:
            try:
                admitted = await onboarding.by_jwt(
                    jwt, client_id=client_id, client_secret=client_secret, name=name, by=COMMAND
                )
            except RingCentralError as error:
                raise SettingsError(why_not_stored(error)) from error
        access = admitted.access
        reach = f"extension {access.extension_id} only" if access.extension_id else "the whole account"
        verb = "Added" if admitted.is_new else "Replaced"
        out.print(f"{verb} {escape(admitted.name)} of account {admitted.account_id}: can see {reach}.")
        if access.problem is not None:
            problem = read_problem(Subject.CREDENTIALS, admitted.account_id, access.problem)
            out.print(f"[red]to do[/]  {escape(problem.detail)}")
        for scope in missing_scopes(access.scopes):
            out.print(f"[red]to do[/]  grant the app the scope {scope}, to {NEEDED_SCOPES[scope]}")

    run_with_database(run, migrate)


@accounts_app.command("list")
def list_accounts() -> None:
    """Show all accounts, their credentials, and what these need."""

    async def run(context: CommandContext) -> None:
        table = Table("account", "credentials", "kind", "can see", "to do")
        async with context.database.read() as db:
            found = await load_overview(db, context.settings, context.vault, context.clock.now())
        for account in found:
            label = f"{account.account_id} (own)" if account.is_own else account.account_id
            if not account.members:
                table.add_row(label, "none", "", "", "")
            for member in account.members:
                problems = [
                    read_problem(Subject.CREDENTIALS, account.account_id, one) for one in member.problems
                ]
                todo = escape("\n".join(problem.detail for problem in problems))
                reach = member.access.extension_id or "everything"
                table.add_row(label, escape(member.name), member.kind, reach, todo)
        out.print(table)

    run_with_database(run, migrate)


@accounts_app.command("remove")
def remove_credentials(
    account: Annotated[str, typer.Argument(help="RingCentral account id.")],
    name: Annotated[str, typer.Argument(help="Name of the credentials; `accounts list` shows it.")],
) -> None:
    """Delete credentials and end their session at RingCentral. Calls, notes and records remain."""

    async def run(context: CommandContext) -> None:
        async with _onboarding(context) as onboarding:
            if not await onboarding.remove(AccountId(account), name, by=COMMAND):
                raise SettingsError(
                    f"account {account} has no stored credentials {name}; `aftercall accounts list` shows "
                    "them"
                )
        out.print(f"Removed {escape(name)} of account {escape(account)}.")

    run_with_database(run, migrate)


@asynccontextmanager
async def _onboarding(context: CommandContext) -> AsyncIterator[Onboarding]:
    async with context.connect("accounts") as (http, connections):
        yield Onboarding(context.settings, context.database, context.clock, context.vault, http, connections)


@accounts_app.command("invite")
def invite(
    hours: Annotated[float, typer.Option(min=0.1, max=720.0, help="How long the link is valid.")] = 24.0,
) -> None:
    """Print a link that connects an account when its user signs in with RingCentral."""
    settings = read_settings()
    if not settings.has_app:
        raise SettingsError("set RC_CLIENT_ID and RC_CLIENT_SECRET: there is no app to sign in with")
    flow = SignInFlow(settings, Vault(settings.secrets()[0]))
    invitation = flow.invite(SystemClock().now(), timedelta(hours=hours))
    # Alone on standard output and never wrapped, so that it can be copied.
    print(invitation_address(settings, None, invitation))  # noqa: T201


accounts_app.command("check")(check_credentials)
