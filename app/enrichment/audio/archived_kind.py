"""What the archiver has to know of one kind of audio: recordings or voicemails."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.connections import Connection
from app.accounts.context import AccountsWorker
from app.calls.ledger import Ledger
from app.calls.media.rows import MediaRow, MediaTable
from app.enrichment.audio.audio_stream import AudioSource
from app.errors import PermissionMissing
from app.ids import AccountId

RowT = TypeVar("RowT", bound=MediaRow)


class ArchivedKind(AccountsWorker, Generic[RowT]):
    """A worker that knows where rows of this kind are stored and who can access their audio."""

    kind: ClassVar[str]
    """`recording` or `voicemail`, for the log."""

    prefix: ClassVar[str] = ""
    """Goes before the id in the names of files: ids of recordings and voicemails may be equal."""

    loop_name: ClassVar[str]
    table: ClassVar[MediaTable]
    outcomes: ClassVar[Counter]

    @abstractmethod
    async def load(self, db: AsyncConnection, account_id: AccountId, media_id: str) -> list[RowT]:
        """Return the rows of one id, one per call that names it."""

    @abstractmethod
    async def find_connection(self, account_id: AccountId, rows: Sequence[RowT]) -> Connection | None:
        """Return a working connection that can access the audio; None if there is none."""

    @abstractmethod
    def source(self, connection: Connection, content_uri: str) -> AudioSource:
        """Return how the connection opens the audio at this address."""

    @abstractmethod
    async def note_refusal(self, connection: Connection, error: PermissionMissing) -> bool:
        """Note that the connection cannot access the audio; return whether it cannot access any."""

    @abstractmethod
    async def note_not_found(self, ledger: Ledger, media_id: str, rows: Sequence[RowT]) -> None:
        """Note that RingCentral does not have the audio."""
