"""`aftercall keys`: create, list and revoke API keys; rotate secrets."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api import keys
from app.api.known_keys import CONNECTOR_SCOPES, Scope
from app.audit import COMMAND, AuditAction, AuditOutcome, differences, record
from app.calls import accounts
from app.cli.context import CommandContext, err, out, run_with_database
from app.db.migrations import migrate
from app.errors import SettingsError
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.secret_rotation import rotate

keys_app = typer.Typer(no_args_is_help=True, help="API keys of connectors and operators; the secret key.")


OriginOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Web origin from which browsers may use it, such as https://crm.example.com; repeat for more."
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        min=keys.DEFAULT_LIMIT, help="Requests a minute to one process; 0: no limit, -1: as the settings say."
    ),
]


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
    origin: OriginOption = None,
    requests_per_minute: LimitOption = None,
) -> None:
    """Create an API key and print it once; only its digest is stored."""

    async def run(context: CommandContext) -> None:
        now = context.clock.now()
        async with context.database.write() as db:
            await accounts.open_unbound(db, now)
            created = await keys.create_key(
                db, AccountId(account), name, now, tuple(scope or CONNECTOR_SCOPES)
            )
            changes = keys.KeyChanges(origin, requests_per_minute)
            key_id = created.info.key_id
            info = await keys.change_key(db, AccountId(account), key_id, changes) or created.info
            told = info.rights()
            await record(db, now, account, AuditAction.KEY_CREATED, COMMAND, target=key_id, details=told)
        # Only the key goes to standard output, so that a script can read it.
        err.print(
            f"Key {created.info.key_id} for account {escape(account)}, with the scopes "
            f"{', '.join(created.info.scopes)}. It is shown only once:"
        )
        print(created.plain)  # noqa: T201

    run_with_database(run, migrate)


@keys_app.command("set")
def set_key(
    key_id: str,
    account: Annotated[str, typer.Option(help="Account id.")] = UNBOUND_ACCOUNT,
    origin: OriginOption = None,
    no_origins: Annotated[bool, typer.Option("--no-origins", help="Take all origins from it.")] = False,
    requests_per_minute: LimitOption = None,
) -> None:
    """Set the web origins and the limit of a key; what is not named stays as it is."""

    async def run(context: CommandContext) -> None:
        changes = keys.KeyChanges([] if no_origins else origin, requests_per_minute)
        async with context.database.write() as db:
            before = await keys.load_key(db, AccountId(account), key_id, lock=True)
            changed = await keys.change_key(db, AccountId(account), key_id, changes)
            if before is None or changed is None:
                raise SettingsError(
                    f"account {account} has no key {key_id}; `aftercall keys list` shows its keys"
                )
            told = differences(before.rights(), changed.rights())
            await _record(context, db, changed, AuditAction.KEY_CHANGED, bool(told), told)
        limit = changed.requests_per_minute
        out.print(f"Origins: {escape(', '.join(changed.origins)) or 'none'}")
        out.print(f"Requests a minute: {'as the settings say' if limit is None else limit or 'no limit'}")

    run_with_database(run)


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
            before = await keys.load_key(db, AccountId(account), key_id, lock=True)
            if before is None:
                raise SettingsError(
                    f"account {account} has no active key {key_id}; `aftercall keys list` shows its keys"
                )
            await keys.revoke_key(db, AccountId(account), key_id, context.clock.now())
            await _record(context, db, before, AuditAction.KEY_REVOKED, before.revoked_at is None)
        out.print(f"Revoked {escape(key_id)}.")

    run_with_database(run)


@keys_app.command("rotate-secrets")
def rotate_secrets() -> None:
    """Encrypt stored credentials with the first key of AFTERCALL_SECRET_KEY so that others can go."""

    async def run(context: CommandContext) -> None:
        vault = context.vault
        async with context.database.write() as db:
            done = await rotate(db, vault)
            told = {"renewed": done.renewed, "kept": done.kept, "unreadable": done.unreadable}
            now = context.clock.now()
            await record(db, now, UNBOUND_ACCOUNT, AuditAction.SECRETS_ROTATED, COMMAND, details=told)
        out.print(f"{done.renewed} secrets encrypted again, {done.kept} already had the first key.")
        if done.unreadable:
            err.print(
                f"None of the keys decrypts {done.unreadable} secrets; `aftercall accounts list` shows whose."
            )
            raise typer.Exit(1)

    run_with_database(run)


async def _record(
    context: CommandContext,
    db: AsyncConnection,
    info: keys.KeyInfo,
    action: AuditAction,
    has_changed: bool,
    told: Mapping[str, Any] | None = None,
) -> None:
    """Write into the audit what a command did to a key."""
    outcome = AuditOutcome.DONE if has_changed else AuditOutcome.UNCHANGED
    await record(
        db, context.clock.now(), info.account_id, action, COMMAND, target=info.key_id, outcome=outcome,
        details=told,
    )  # fmt: skip
