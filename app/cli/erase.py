"""`aftercall erase`: erase a person, an extension or a call, with a receipt."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from app.audit import COMMAND, AuditAction, record
from app.calls import accounts
from app.cli.context import CommandContext, err, out, run_with_database
from app.enrichment.audio.archive_store import open_archive
from app.erasure import store
from app.erasure.eraser import Eraser
from app.erasure.model import Erasure, Order, Status, SubjectKind
from app.erasure.subjects import read_subject
from app.ids import AccountId
from app.ops.privacy.schemas import receipt_of

_PAUSE_SECONDS = 1.0
_MOST_PAUSES = 30
_ORDER = Order("command")


def erase(
    phone_number: Annotated[str | None, typer.Option(help="A complete phone number.")] = None,
    extension_id: Annotated[str | None, typer.Option(help="RingCentral's id of an extension.")] = None,
    call: Annotated[str | None, typer.Option(help="Any name of a call.")] = None,
    account: Annotated[
        str, typer.Option(help="Account id; ~ is the account of the service's own credentials.")
    ] = "~",
    run: Annotated[bool, typer.Option("--run", help="Erase. Without it, only count what would go.")] = False,
    spare_held: Annotated[
        bool, typer.Option("--spare-held", help="Erase the rest when calls are under legal hold.")
    ] = False,
) -> None:
    """Count what is stored of a phone number, an extension or a call; with --run, erase it everywhere.

    It cannot be undone. Interrupted, the service continues it. The receipt goes to standard output.
    """
    kind, written = _subject(phone_number, extension_id, call)

    async def work(context: CommandContext) -> Erasure:
        database, clock, vault = context.database, context.clock, context.vault
        async with database.write() as db:
            account_id = await accounts.resolve(db, AccountId(account))
            subject = await read_subject(db, account_id, kind, written)
            now = clock.now()
            planned = await store.plan_erasure(db, vault, account_id, subject, _ORDER, now)
            target = planned.erasure_id
            told: dict[str, Any] = {"kind": planned.kind}
            await record(
                db, now, account_id, AuditAction.ERASURE_PLANNED, COMMAND, target=target, details=told
            )
            if run:
                action = AuditAction.ERASURE_STARTED
                begun = await store.begin_erasure(
                    db, vault, account_id, target, _ORDER, now, spare_held=spare_held
                )
                told = told | {"heldCalls": begun.held}
                await record(db, now, account_id, action, COMMAND, target=target, details=told)
        return await _carry_out(context, planned) if run else planned

    found = run_with_database(work)
    receipt = receipt_of(found)
    if receipt is not None:
        # Only the receipt goes to standard output, so that a script can store it.
        print(json.dumps(receipt.model_dump(mode="json", by_alias=True)))  # noqa: T201
        return
    _show(found)
    if run:
        why = found.problem or "deliveries wait to be folded."
        err.print(f"The erasure {found.erasure_id} goes on in the service: {why}")
        raise typer.Exit(1)
    out.print("Nothing was erased. Repeat the command with --run to erase it.")


def _subject(phone_number: str | None, extension_id: str | None, call: str | None) -> tuple[SubjectKind, str]:
    given = {
        SubjectKind.PHONE_NUMBER: phone_number,
        SubjectKind.EXTENSION: extension_id,
        SubjectKind.CALL: call,
    }
    chosen = [(kind, written) for kind, written in given.items() if written]
    if len(chosen) != 1:
        raise typer.BadParameter("Give exactly one of --phone-number, --extension-id and --call.")
    return chosen[0]


async def _carry_out(context: CommandContext, planned: Erasure) -> Erasure:
    """Work until it is done; a worker of the service may do a part of it."""
    settings = context.settings
    spool = Path(settings.archive_spool_folder) if settings.archive_spool_folder else None
    eraser = Eraser(
        context.database,
        context.clock,
        context.vault,
        open_archive(settings),
        replica="erase",
        lease_seconds=settings.lease_seconds,
        spool=spool,
    )
    found, pauses = planned, 0
    while found.status != Status.DONE and pauses < _MOST_PAUSES:
        async with context.database.read() as db:
            found = await store.load_erasure(db, AccountId(planned.account_id), planned.erasure_id)
        if found.status != Status.DONE and not await eraser.work_on(found):
            pauses += 1
            await context.clock.sleep(0 if pauses == 1 else _PAUSE_SECONDS)
    return found


def _show(erasure: Erasure) -> None:
    table = Table("kind", "rows")
    for kind, number in sorted(erasure.planned.items()):
        table.add_row(kind, str(number))
    out.print(table)
    if erasure.held:
        out.print(f"{erasure.held} calls are under legal hold and stay.")
