"""`aftercall keys`: create, list and revoke API keys; rotate secrets."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from app.accounts.credentials import rotate
from app.api import keys
from app.api.known_keys import CONNECTOR_SCOPES, Scope
from app.calls import accounts
from app.cli.context import CommandContext, err, out, run_with_database
from app.db.migrations import migrate
from app.errors import SettingsError
from app.ids import UNBOUND_ACCOUNT, AccountId

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
            help="What the key may do; repeat for more. Default: what a connector needs, "
            f"{' and '.join(CONNECTOR_SCOPES)}."
        ),
    ] = None,
) -> None:
    """Create an API key and print it once; only its digest is stored."""

    async def run(context: CommandContext) -> None:
        now = context.clock.now()
        async with context.database.write() as db:
            await accounts.open_unbound(db, now)
            created = await keys.create_key(
                db, AccountId(account), name, now, tuple(scope or CONNECTOR_SCOPES)
            )
        # Only the key goes to standard output, so that a script can read it.
        err.print(
            f"Key {created.info.key_id} for account {escape(account)}, with the scopes "
            f"{', '.join(created.info.scopes)}. It is shown only once:"
        )
        print(created.plain)  # noqa: T201

    run_with_database(run, migrate)


@keys_app.command("list")
def list_keys(account: Annotated[str, typer.Option(help="Account id.")] = UNBOUND_ACCOUNT) -> None:
    """Show the keys of an account."""

    async def run(context: CommandContext) -> None:
        table = Table("name", "scopes", "created", "revoked")
        # A truncated id cannot be used to revoke the key.
        table.add_column("id", no_wrap=True, overflow="ignore", min_width=30)
        async with context.database.read() as db:
            for info in await keys.list_keys(db, AccountId(account)):
                table.add_row(
                    escape(info.name),
                    " ".join(info.scopes),
                    f"{info.created_at:%Y-%m-%d}",
                    f"{info.revoked_at:%Y-%m-%d}" if info.revoked_at else "",
                    info.key_id,
                )
        out.print(table)

    run_with_database(run)


@keys_app.command("revoke")
def revoke_key(
    key_id: str, account: Annotated[str, typer.Option(help="Account id.")] = UNBOUND_ACCOUNT
) -> None:
    """Revoke a key immediately."""

    async def run(context: CommandContext) -> None:
        async with context.database.write() as db:
            if not await keys.revoke_key(db, AccountId(account), key_id, context.clock.now()):
                raise SettingsError(
                    f"account {account} has no active key {key_id}; `aftercall keys list` shows its keys"
                )
        out.print(f"Revoked {escape(key_id)}.")

    run_with_database(run)


@keys_app.command("rotate-secrets")
def rotate_secrets() -> None:
    """Encrypt stored credentials with the first key of AFTERCALL_SECRET_KEY so that others can go."""

    async def run(context: CommandContext) -> None:
        vault = context.vault
        async with context.database.write() as db:
            done = await rotate(db, vault)
        out.print(f"{done.renewed} secrets encrypted again, {done.kept} already had the first key.")
        if done.unreadable:
            err.print(
                f"None of the keys decrypts {done.unreadable} secrets; `aftercall accounts list` shows whose."
            )
            raise typer.Exit(1)

    run_with_database(run)
