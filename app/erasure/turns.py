"""One erasure while a replica works on it: whom it is about, what was erased, and how far it is."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.regions import load_region
from app.erasure.mentions import Place, places_of
from app.erasure.model import Counts, Erasure, Progress, Subject, SubjectKind
from app.erasure.spellings import Spelling, spelling_of_id, spelling_of_number
from app.erasure.subjects import unseal
from app.ids import AccountId
from app.vault import InvalidToken, Vault
from app.work.leases import Lease


@dataclass(slots=True)
class Turn:
    """One erasure while a replica works on it."""

    erasure: Erasure
    lease: Lease
    subject: Subject
    account_id: AccountId
    progress: Progress
    erased: Counts
    spelling: Spelling | None
    places: dict[str, Place] = field(init=False)

    def __post_init__(self) -> None:
        self.places = places_of(self.subject)

    @property
    def erasure_id(self) -> str:
        return self.erasure.erasure_id

    async def save(self, db: AsyncConnection, now: datetime, progress: Progress, **changes: Any) -> None:
        """Write how far it is, and hold the lease for longer.

        Raises LeaseLost: then the transaction must not commit.
        """
        erased = {kind: number for kind, number in sorted(self.erased.items()) if number}
        until = now + timedelta(seconds=self.lease.seconds)
        await self.lease.save(db, lease_until=until, progress=progress.to_json(), erased=erased, **changes)

    def advance(self, progress: Progress) -> None:
        """Continue from here. Only after the commit."""
        self.progress = progress


async def open_turn(db: AsyncConnection, vault: Vault, erasure: Erasure, lease: Lease) -> Turn | None:
    """Return what is left to do of an erasure; None if its subject cannot be decrypted."""
    try:
        subject = unseal(vault, erasure.subject or b"")
    except InvalidToken:
        return None
    account_id = AccountId(erasure.account_id)
    spelling = None
    if subject.kind is SubjectKind.PHONE_NUMBER:
        spelling = spelling_of_number(subject.value, await load_region(db, account_id))
    elif subject.kind is SubjectKind.EXTENSION:
        spelling = spelling_of_id(subject.value)
    progress = Progress.from_json(erasure.progress)
    return Turn(erasure, lease, subject, account_id, progress, Counts(erasure.erased), spelling)
