"""The commands `aftercall accounts …`: RingCentral accounts beside, or instead of, that of the environment."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.accounts.connections import Connections
from app.accounts.onboarding import Onboarding
from app.accounts.overview import NEEDED_SCOPES, load_overview, missing_scopes
from app.accounts.remedies import why_not_stored
from app.cli.group import run_to_end
from app.clock import Clock, SystemClock
from app.db.engine import Database
from app.db.migrations import migrate
from app.errors import RingCentralError, SettingsError
from app.ids import AccountId
from app.ops.accounts.oauth import SignInFlow, invitation_address
from app.settings import Settings, read_settings
from app.vault import Vault

STANDARD_INPUT = "-"

accounts_app = typer.Typer(
    no_args_is_help=True, help="RingCentral accounts beside, or instead of, that of the environment."
)
out = Console()


@dataclass(frozen=True, slots=True)
class _Desk:
    settings: Settings
    database: Database
    clock: Clock
    vault: Vault
    onboarding: Onboarding


@asynccontextmanager
async def _opened() -> AsyncIterator[_Desk]:
    settings, clock = read_settings(), SystemClock()
    vault, database = (
        Vault(settings.secrets()[0]),
        Database(settings.database_url, direct_url=settings.database_direct_url),
    )
    try:
        await migrate(database)
        async with httpx.AsyncClient() as http:
            connections = Connections(settings, database, clock, vault, http, replica="accounts")
            onboarding = Onboarding(settings, database, clock, vault, http, connections)
            yield _Desk(settings, database, clock, vault, onboarding)
    finally:
        await database.close()


def _run(work: Callable[[_Desk], Awaitable[None]]) -> None:
    async def opened() -> None:
        async with _opened() as desk:
            await work(desk)

    run_to_end(opened())


def _secret(value: str | None, what: str) -> str:
    """Take a secret from where it was given: `-` is the first line of standard input, nothing asks for it."""
    if value == STANDARD_INPUT:
        value = sys.stdin.readline()
    elif value is None:
        value = typer.prompt(what, hide_input=True)
    secret = value.strip()
    if not secret:
        raise SettingsError(f"{what}: nothing was given")
    return secret


@accounts_app.command("add")
def add_account(
    jwt: Annotated[
        str | None,
        typer.Option(
            envvar="AFTERCALL_ACCOUNT_JWT",
            show_envvar=True,
            help="The JWT credential; `-` reads a line of standard input. Without: asked for. "
            "Other users of the machine can read what stands on the command line.",
        ),
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(help="The app's client id, if it is not that of RC_CLIENT_ID.")
    ] = None,
    client_secret: Annotated[
        str | None,
        typer.Option(
            envvar="AFTERCALL_ACCOUNT_CLIENT_SECRET", help="Its secret; `-` and nothing as for the JWT."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Default: ext- and the user's extension id; replaces the one so called."),
    ] = None,
) -> None:
    """Store a JWT credential, encrypted, after asking RingCentral whose it is."""
    jwt = _secret(jwt, "JWT credential")
    if client_id is not None:
        client_secret = _secret(client_secret, "Client secret")

    async def run(desk: _Desk) -> None:
        try:
            admitted = await desk.onboarding.by_jwt(
                jwt, client_id=client_id, client_secret=client_secret, name=name
            )
        except RingCentralError as error:
            raise SettingsError(why_not_stored(error)) from error
        access = admitted.access
        reach = (
            "the whole account" if access.extension_id is None else f"extension {access.extension_id} alone"
        )
        verb = "Added" if admitted.is_new else "Replaced"
        out.print(f"{verb} {escape(admitted.name)} of account {admitted.account_id}: sees {reach}.")
        if access.problem is not None:
            out.print(f"[red]to do[/]  {escape(str(access.problem.get('detail')))}")
        for scope in missing_scopes(access.scopes):
            out.print(f"[red]to do[/]  grant the app the scope {scope}, to {NEEDED_SCOPES[scope]}")

    _run(run)


@accounts_app.command("list")
def list_accounts() -> None:
    """Show all accounts, whose credentials serve them, and what they need."""

    async def run(desk: _Desk) -> None:
        table = Table("account", "credentials", "kind", "sees", "to do")
        async with desk.database.read() as db:
            found = await load_overview(db, desk.settings, desk.vault, desk.clock.now())
        for account in found:
            label = f"{account.account_id} (own)" if account.is_own else account.account_id
            if not account.members:
                table.add_row(label, "none", "", "", "")
            for member in account.members:
                told = "\n".join(str(problem["detail"]) for problem in member.problems)
                sees = member.access.extension_id or "everything"
                table.add_row(label, escape(member.name), member.kind, sees, escape(told))
        out.print(table)

    _run(run)


@accounts_app.command("remove")
def remove_credentials(
    account: Annotated[str, typer.Argument(help="RingCentral account id.")],
    name: Annotated[str, typer.Argument(help="Name of the credentials; `accounts list` shows it.")],
) -> None:
    """Forget credentials and end their session at RingCentral. Calls, notes and records stay."""

    async def run(desk: _Desk) -> None:
        if not await desk.onboarding.remove(AccountId(account), name):
            raise SettingsError(
                f"account {account} has no stored credentials {name}; `aftercall accounts list` shows them"
            )
        out.print(f"Removed {escape(name)} of account {escape(account)}.")

    _run(run)


@accounts_app.command("invite")
def invite(
    hours: Annotated[float, typer.Option(min=0.1, max=720.0, help="How long the link works.")] = 24.0,
) -> None:
    """Print a link with which somebody connects an account by signing in with RingCentral."""
    settings = read_settings()
    if not settings.has_app:
        raise SettingsError("set RC_CLIENT_ID and RC_CLIENT_SECRET: there is no app to sign in with")
    flow = SignInFlow(settings, Vault(settings.secrets()[0]))
    invitation = flow.invite(SystemClock().now(), timedelta(hours=hours))
    # Alone on standard output and never wrapped, so that it can be copied.
    print(invitation_address(settings, None, invitation))  # noqa: T201
