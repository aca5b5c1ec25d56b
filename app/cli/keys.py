"""`aftercall keys`: create, list and revoke API keys; rotate secrets."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from app.accounts.credentials import rotate
from app.api import keys
from app.api.auth import CONNECTOR_SCOPES, Scope
from app.calls import accounts
from app.cli.context import err, out, with_database, with_schema
from app.clock import SystemClock
from app.db.engine import Database
from app.db.migrations import migrate as migrate_database
from app.errors import SettingsError
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.settings import read_settings
from app.vault import Vault

keys_app = typer.Typer(no_args_is_help=True, help="API keys of connectors and operators; the secret key.")


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

    with_database(run)


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

    with_schema(run)


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

    with_schema(run)


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

    with_schema(run)
