"""Reads the people of an account from RingCentral, by one connection.

The directory is read page by page, each with its ETag, so that an unchanged one costs a 304. Where only the
directory is refused, the list of extensions takes its place.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from app.accounts.directory.comparing import Source
from app.errors import AccessReason, CredentialsRefused, PermissionMissing, RequestRefused
from app.ids import AccountId
from app.ringcentral.client import RingCentralClient
from app.ringcentral.models.directory import AccountInfo, DirectoryEntry, DirectoryPage

READ_ACCOUNTS = "ReadAccounts"
"""The app scope of all these requests."""

MISSING_SCOPE = "CMN-401"

MOST_PAGES = 50

_FetchPage = Callable[[int], Awaitable[DirectoryPage | None]]


@dataclass(frozen=True, slots=True)
class People:
    """A complete list. `etags` are those of its pages; empty if a page had none."""

    source: Source
    entries: tuple[DirectoryEntry, ...]
    etags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DirectoryRead:
    """`account` is None if it was refused, `people` if they have not changed."""

    account: AccountInfo | None
    people: People | None


async def read_directory(
    client: RingCentralClient, account_id: AccountId, etags: Sequence[str]
) -> DirectoryRead:
    """Read account and people.

    Raises PermissionMissing or RequestRefused if neither list can be read, and CredentialsRefused if the
    credentials belong to another account.
    """
    account = await _read_account(client)
    if account is not None and account.id not in (None, account_id):
        # The people of one account must never be shown to another.
        raise CredentialsRefused(
            f"RingCentral names the account {account.id}", code=AccessReason.WRONG_ACCOUNT
        )
    return DirectoryRead(account, await _read_people(client, account_id, etags))


async def _read_account(client: RingCentralClient) -> AccountInfo | None:
    try:
        return await client.fetch_account()
    except (PermissionMissing, RequestRefused) as refusal:
        if refusal.code == MISSING_SCOPE:
            # The lists need the same scope: they are not asked only to be refused as well.
            raise
        return None


async def _read_people(
    client: RingCentralClient, account_id: AccountId, etags: Sequence[str]
) -> People | None:
    async def fetch(page: int, etag: str | None = None) -> DirectoryPage | None:
        return await client.fetch_directory_page(page, etag=etag)

    async def fetch_extensions(page: int) -> DirectoryPage | None:
        return await client.fetch_extensions_page(page)

    try:
        if etags and await _is_unchanged(fetch, etags):
            return None
        pages = await _read_pages(fetch)
        source = Source.DIRECTORY
    except (PermissionMissing, RequestRefused) as refusal:
        if refusal.code == MISSING_SCOPE:
            raise
        try:
            pages = await _read_pages(fetch_extensions)
        except (PermissionMissing, RequestRefused) as second:
            # A permission is easier to grant than a feature.
            raise second if isinstance(second, PermissionMissing) else refusal from second
        source = Source.EXTENSIONS
    found = [page.etag for page in pages]
    return People(
        source,
        # A server that ignores `showFederated` lists the people of other accounts, too.
        tuple(entry for page in pages for entry in page.entries if entry.account_id in (None, account_id)),
        tuple(etag for etag in found if etag) if source is Source.DIRECTORY and all(found) else (),
    )


async def _is_unchanged(
    fetch: Callable[[int, str | None], Awaitable[DirectoryPage | None]], etags: Sequence[str]
) -> bool:
    for number, etag in enumerate(etags, start=1):
        if await fetch(number, etag) is not None:
            return False
    return True


async def _read_pages(fetch: _FetchPage) -> list[DirectoryPage]:
    """Read all pages. A server that ignores `page` repeats the first: then there is only that one."""
    pages: list[DirectoryPage] = []
    seen: set[str] = set()
    while len(pages) < MOST_PAGES:
        page = await fetch(len(pages) + 1)
        if page is None or (pages and all(entry.id in seen for entry in page.entries)):
            break
        pages.append(page)
        seen.update(entry.id for entry in page.entries)
        if not page.has_next:
            break
    return pages
