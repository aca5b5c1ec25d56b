"""The people of an account: its directory, its extensions, and the account itself. Pure."""

from app.ids import ExtensionId
from app.ringcentral.models.directory import (
    AccountInfo,
    DirectoryEntry,
    DirectoryPage,
    read_account_info,
    read_directory_entry,
    read_etag,
)
from app.ringcentral.models.fields import read_count
from app.ringcentral.protocol.requests import get, owner_path
from app.ringcentral.protocol.responses import read_inner, read_object, read_records, read_with
from app.ringcentral.wire import LIGHT, MEDIUM, Request, Response

LARGEST_PAGE = 1000
"""RingCentral's default for the directory and its largest page of extensions (API description 1.0.46)."""


def directory_entries(page: int, etag: str | None = None) -> Request:
    """Request a page of the directory, unless it is the one with this ETag. Needs the app scope ReadAccounts.

    Without `showFederated=false` it would list the entries of federated accounts, too.
    """
    path, route = owner_path()
    params = (("showFederated", "false"), ("page", str(page)), ("perPage", str(LARGEST_PAGE)))
    return Request(
        method="GET",
        url=f"{path}/directory/entries",
        route=f"{route}/directory/entries",
        group=MEDIUM,
        params=params,
        headers={"If-None-Match": etag} if etag else {},
    )


def extensions(page: int) -> Request:
    """Request a page of extensions. Needs the app scope ReadAccounts and the permission ReadExtensions."""
    path, route = owner_path()
    params = (("page", str(page)), ("perPage", str(LARGEST_PAGE)))
    return get(f"{path}/extension", f"{route}/extension", MEDIUM, params)


def extension(extension_id: ExtensionId) -> Request:
    """Request one extension, which has its time zone."""
    path, route = owner_path(extension_id)
    return get(path, route, LIGHT)


def decode_page(response: Response) -> DirectoryPage | None:
    """Read a page of the directory or of extensions; None if it has not changed (304).

    An entry without an id is left out: its neighbours are read.
    """
    if response.is_not_modified:
        return None
    body, listed = read_records(response)
    entries = [read_directory_entry(item) for item in listed]
    return DirectoryPage(
        sent_at=response.sent_at,
        entries=tuple(entry for entry in entries if entry is not None),
        page=read_count(read_inner(body, "paging").get("page")),
        has_next=bool(read_inner(body, "navigation").get("nextPage")),
        etag=read_etag(response.headers.get("etag")),
    )


def decode_extension(response: Response) -> DirectoryEntry:
    return read_with(response, read_directory_entry, "the extension")


def decode_account(response: Response) -> AccountInfo:
    return read_account_info(read_object(response))
