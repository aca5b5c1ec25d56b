"""An eraser on a fake clock, with an archive in a folder."""

from pathlib import Path

import pytest

from app.calls import accounts
from app.db.engine import Database
from app.enrichment.audio.archive_store import FolderArchive
from app.erasure import store
from app.erasure.eraser import Eraser
from app.erasure.model import Erasure, Order, SubjectKind
from app.erasure.subjects import read_subject
from app.ids import AccountId
from app.vault import Vault
from tests.conftest import SECRETS
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import FakeClock

ORDER = Order("apiKey", "key_1", "privacy desk")


class Office:
    """Plans and carries out erasures."""

    def __init__(self, database: Database, clock: FakeClock, folder: Path) -> None:
        self.database = database
        self.clock = clock
        self.vault = Vault(SECRETS["secret_key"])
        self.root, self.spool = folder / "archive", folder / "spool"
        self.archive = FolderArchive(self.root)
        self.eraser = self.open_eraser("one")

    def open_eraser(self, replica: str) -> Eraser:
        return Eraser(
            self.database,
            self.clock,
            self.vault,
            self.archive,
            replica=replica,
            lease_seconds=30.0,
            spool=self.spool,
        )

    async def plan(self, kind: SubjectKind, written: str, account_id: AccountId = ACCOUNT) -> Erasure:
        async with self.database.write() as db:
            account_id = await accounts.resolve(db, account_id)
            subject = await read_subject(db, account_id, kind, written)
            return await store.plan_erasure(db, self.vault, account_id, subject, ORDER, self.clock.now())

    async def begin(self, erasure: Erasure, *, spare_held: bool = False) -> None:
        async with self.database.write() as db:
            await store.begin_erasure(
                db,
                self.vault,
                AccountId(erasure.account_id),
                erasure.erasure_id,
                ORDER,
                self.clock.now(),
                spare_held=spare_held,
            )

    async def carry_out(self, erasure: Erasure, turns: int = 200) -> Erasure:
        """Work until the erasure is done, or for so many turns."""
        for _ in range(turns):
            if await self.eraser.step() != 0.0:
                if (await self.load(erasure)).status == "done":
                    break
                self.clock.advance(10.0)
        return await self.load(erasure)

    async def erase(self, kind: SubjectKind, written: str, *, spare_held: bool = False) -> Erasure:
        planned = await self.plan(kind, written)
        await self.begin(planned, spare_held=spare_held)
        return await self.carry_out(planned)

    async def load(self, erasure: Erasure) -> Erasure:
        async with self.database.read() as db:
            return await store.load_erasure(db, AccountId(erasure.account_id), erasure.erasure_id)


@pytest.fixture
def office(database: Database, clock: FakeClock, account: AccountId, tmp_path: Path) -> Office:
    return Office(database, clock, tmp_path)
