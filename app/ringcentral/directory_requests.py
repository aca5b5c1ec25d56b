"""The client's requests for the people of the account. They can wait: their priority is the lowest."""

from datetime import datetime

from app.ids import ExtensionId
from app.ringcentral.models.directory import AccountInfo, DirectoryEntry, DirectoryPage
from app.ringcentral.ports import Priority
from app.ringcentral.protocol import directory, oauth
from app.ringcentral.sending import Sender, decode_beside


class DirectoryRequests:
    """Part of `RingCentralClient`; can raise what its other methods can."""

    _sender: Sender

    async def fetch_account(self, *, deadline: datetime | None = None) -> AccountInfo:
        """Return the account's main number, country and time zone. Needs the app scope ReadAccounts."""
        response = await self._sender.send(oauth.account_info(), Priority.GLANCE, deadline)
        return directory.decode_account(response)

    async def fetch_directory_page(
        self, page: int, *, etag: str | None = None, deadline: datetime | None = None
    ) -> DirectoryPage | None:
        """Return a page of the directory; None if it is still the one with this ETag."""
        request = directory.directory_entries(page, etag)
        response = await self._sender.send(request, Priority.GLANCE, deadline)
        return await decode_beside(response, directory.decode_page)

    async def fetch_extensions_page(
        self, page: int, *, deadline: datetime | None = None
    ) -> DirectoryPage | None:
        """Return a page of extensions, which has less: e-mails and names, but no direct numbers."""
        response = await self._sender.send(directory.extensions(page), Priority.GLANCE, deadline)
        return await decode_beside(response, directory.decode_page)

    async def fetch_extension(
        self, extension_id: ExtensionId, *, deadline: datetime | None = None
    ) -> DirectoryEntry | None:
        """Return one extension with its time zone; None if it does not exist."""
        response = await self._sender.send_or_404(
            directory.extension(extension_id), Priority.GLANCE, deadline
        )
        return directory.decode_extension(response) if response else None
