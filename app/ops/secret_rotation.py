"""Encrypts everything that is stored encrypted again, so that an old secret key can go."""

from dataclasses import dataclass

from cryptography.fernet import InvalidToken
from sqlalchemy import Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import metadata
from app.db.types import Encrypted
from app.vault import Vault


@dataclass(frozen=True, slots=True)
class Rotation:
    """How many secrets were encrypted again, had the first key already, and cannot be read with any key."""

    renewed: int = 0
    kept: int = 0
    unreadable: int = 0

    def __add__(self, other: "Rotation") -> "Rotation":
        return Rotation(
            self.renewed + other.renewed, self.kept + other.kept, self.unreadable + other.unreadable
        )


async def rotate(db: AsyncConnection, vault: Vault) -> Rotation:
    """Encrypt with the first key what another key has encrypted, in all tables.

    May run while the service works: a secret that changes meanwhile is encrypted with the first key.
    """
    done = Rotation()
    for table in metadata.sorted_tables:
        if any(isinstance(column.type, Encrypted) for column in table.c):
            done += await _rotate_table(db, vault, table)
    return done


async def _rotate_table(db: AsyncConnection, vault: Vault, table: Table) -> Rotation:
    done, key = Rotation(), list(table.primary_key)
    secrets = [column for column in table.c if isinstance(column.type, Encrypted)]
    for row in (await db.execute(select(*key, *secrets).with_for_update())).mappings().all():
        changed: dict[str, bytes] = {}
        for column in secrets:
            encrypted: bytes | None = row[column]
            if encrypted is None:
                continue
            try:
                renewed = vault.renewed(encrypted)
            except InvalidToken:
                done += Rotation(unreadable=1)
                continue
            if renewed is None:
                done += Rotation(kept=1)
            else:
                changed[column.name] = renewed
                done += Rotation(renewed=1)
        if changed:
            mine = [column == row[column] for column in key]
            await db.execute(update(table).where(*mine).values(changed))
    return done
