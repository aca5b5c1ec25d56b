"""Reads who or what is to be erased, and the keyed hash by which that can be proven later."""

import hashlib
import hmac
import json

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.lifetime.tombstones import check_not_erased
from app.calls.listing.numbers import find_wanted_number
from app.calls.regions import load_region
from app.db.tables import directories, erased_names
from app.erasure.model import Subject, SubjectKind
from app.errors import NotFound, Unprocessable
from app.ids import AccountId
from app.values.phone_numbers import NumberKind, read_phone_number
from app.vault import Vault

_USE = "erasure"


async def read_subject(
    db: AsyncConnection, account_id: AccountId, kind: SubjectKind, written: str
) -> Subject:
    """Return the subject that a person has written.

    Raises Unprocessable (no complete number, or the company's own main number), NotFound, CallErased and
    AmbiguousCall.
    """
    match kind:
        case SubjectKind.PHONE_NUMBER:
            return await _read_number(db, account_id, written.strip())
        case SubjectKind.EXTENSION:
            return Subject(kind, written, (written,))
        case SubjectKind.CALL:
            call_id = await store.find_id(db, account_id, written)
            if call_id is None:
                await check_not_erased(db, account_id, written)
                raise NotFound(f"No call is known as {written}")
            return Subject(kind, call_id, (call_id,))


async def read_erased_subject(
    db: AsyncConnection, account_id: AccountId, kind: SubjectKind, written: str
) -> Subject:
    """Return a subject as `read_subject` does, also of a call that was erased or is not known: an erasure was
    not about that one. Raises Unprocessable and AmbiguousCall.
    """
    if kind is SubjectKind.CALL:
        erased = select(erased_names.c.call_id).where(
            erased_names.c.account_id == account_id, erased_names.c.name == written
        )
        call_id = await db.scalar(erased.order_by(erased_names.c.call_id).limit(1))
        if call_id is not None or written.startswith("call_"):
            return Subject(kind, call_id or written, ())
        known = await store.find_id(db, account_id, written)
        return Subject(kind, known or written, ())
    return await read_subject(db, account_id, kind, written)


async def _read_number(db: AsyncConnection, account_id: AccountId, written: str) -> Subject:
    number = read_phone_number(written, await load_region(db, account_id))
    if number is None or number.kind is not NumberKind.FULL or number.e164 is None:
        raise Unprocessable(
            "This is not a complete phone number. Write it with `+` and its country code; an extension is "
            "erased by `extensionId`."
        )
    wanted = await find_wanted_number(db, account_id, number.e164)
    query = select(directories.c.main_number).where(directories.c.account_id == account_id)
    main = read_phone_number(await db.scalar(query), await load_region(db, account_id))
    if main is not None and main.e164 == number.e164:
        raise Unprocessable("This is the company's own main number: nearly all calls would be erased")
    return Subject(SubjectKind.PHONE_NUMBER, number.e164, wanted.values)


def hash_of(vault: Vault, account_id: str, subject: Subject) -> str:
    """Return the hash of a subject under the current key (HMAC-SHA256, in hex)."""
    return _hash(vault.key_for(_USE), account_id, subject)


def is_of(vault: Vault, account_id: str, subject: Subject, stored: str) -> bool:
    """Whether a stored hash is that of a subject, under any of the secret keys that are set."""
    return any(hmac.compare_digest(_hash(key, account_id, subject), stored) for key in vault.keys_for(_USE))


def _hash(key: bytes, account_id: str, subject: Subject) -> str:
    message = f"{account_id}\n{subject.kind.value}\n{subject.value}"
    return hmac.digest(key, message.encode(), hashlib.sha256).hex()


def seal(vault: Vault, subject: Subject) -> bytes:
    """Return a subject encrypted, for the time until its erasure is done."""
    return vault.encrypt(json.dumps(subject.to_json()).encode())


def unseal(vault: Vault, sealed: bytes) -> Subject:
    """Raises InvalidToken if it was encrypted with a key that is not set any more."""
    return Subject.from_json(json.loads(vault.decrypt(sealed)))
