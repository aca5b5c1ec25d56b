"""Request handlers of the account, its directory and its extensions.

Groups, permissions and fields are those of RingCentral's API description 1.0.46: `listDirectoryEntries` and
`listExtensions` are Medium, the account and an extension Light; a directory without federated accounts has no
`account` section in its entries.
"""

import hashlib
import json

from starlette.responses import JSONResponse, Response

from app.simulator.api.pipeline import ApiRequest, account_of, extension_of
from app.simulator.platform.errors import Refused
from app.simulator.platform.listing import Page, paged
from app.simulator.platform.views import Links
from app.simulator.scripting.company import Extension
from app.simulator.scripting.model import Json
from app.simulator.simulator import Simulator

_DEFAULT_ENTRIES = 1000
_MOST_ENTRIES = 2000
_TIME_ZONE: Json = {"id": "58", "name": "America/Los_Angeles", "description": "Pacific Time (US & Canada)"}
_HOME_COUNTRY: Json = {"id": "1", "name": "United States", "isoCode": "US", "callingCode": "1"}
_REGIONAL_SETTINGS: Json = {"homeCountry": _HOME_COUNTRY, "timezone": _TIME_ZONE, "timeFormat": "12h"}
_FEDERATED = Extension(
    "822000101", "101", "Pat Neumann", "+15550200101", email="pat.neumann@harbor-coffee.example"
)
"""Somebody of another account that is federated with this one."""

_FEDERATED_ACCOUNT = "908079999"


async def read_account(simulator: Simulator, request: ApiRequest) -> Response:
    account_id = account_of(simulator, request)
    return JSONResponse(
        {
            "uri": simulator.links.account,
            "id": int(account_id),
            "mainNumber": simulator.company.main_number.lstrip("+"),
            "status": "Confirmed",
            "serviceInfo": {"brand": {"id": "1210", "name": "RingCentral"}},
            "regionalSettings": _REGIONAL_SETTINGS,
        }
    )


async def list_directory(simulator: Simulator, request: ApiRequest) -> Response:
    """Return a page of the directory, or 304 to the ETag of its content."""
    account_id = account_of(simulator, request)
    faults, query = simulator.faults, request.query
    if not faults.directory_available:
        raise Refused(403, "CMN-403", "The feature [CompanyDirectory] is not available")
    is_federated = (query.one("showFederated") or "true").lower() == "true"
    wanted = query.all("type")
    found = [(account_id, one) for one in _present(simulator) if not wanted or one.kind in wanted]
    if is_federated and faults.federated_account:
        found.append((_FEDERATED_ACCOUNT, _FEDERATED))

    def show(entry: tuple[str, Extension]) -> Json:
        of, extension = entry
        shown = _show_entry(extension, simulator.company.main_number)
        if is_federated:
            shown["account"] = {"id": of, "mainNumber": {"phoneNumber": simulator.company.main_number}}
        return shown

    size = query.integer("perPage", _DEFAULT_ENTRIES, most=_MOST_ENTRIES)
    address = f"{simulator.links.account}/directory/entries"
    body = paged(address, query, Page(query.integer("page", 1), size), found, show, "correct")
    if not faults.directory_etags:
        return JSONResponse(body)
    etag = f'W/"{hashlib.sha256(json.dumps(body).encode()).hexdigest()[:20]}"'
    if request.http.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"ETag": etag})
    return JSONResponse(body, headers={"ETag": etag})


async def list_extensions(simulator: Simulator, request: ApiRequest) -> Response:
    account_of(simulator, request)
    address, page = f"{simulator.links.account}/extension", Page.read(request.query)

    def show(extension: Extension) -> Json:
        return _show_extension(simulator.links, extension)

    return JSONResponse(paged(address, request.query, page, _present(simulator), show, "correct"))


async def read_extension(simulator: Simulator, request: ApiRequest) -> Response:
    extension = extension_of(simulator, request)
    shown = _show_extension(simulator.links, extension)
    return JSONResponse(shown | {"regionalSettings": _REGIONAL_SETTINGS})


def _present(simulator: Simulator) -> list[Extension]:
    gone = simulator.faults.former_extensions
    return [extension for extension in simulator.company.extensions if extension.id not in gone]


def _show_entry(extension: Extension, main_number: str) -> Json:
    first, _, last = extension.name.partition(" ")
    numbers = [(extension.direct_number, "DirectNumber")]
    if extension.mobile_number is not None:
        numbers.append((extension.mobile_number, "MobileNumber"))
    shown: Json = {
        "id": extension.id,
        "type": extension.kind,
        "status": extension.status,
        "extensionNumber": extension.number,
        "name": extension.name,
        # A menu answers the main number, which the directory lists for nobody.
        "phoneNumbers": [
            {"phoneNumber": number, "formattedPhoneNumber": number, "type": "VoiceFax", "usageType": usage}
            for number, usage in numbers
            if number != main_number
        ],
    }
    if extension.kind == "User":
        shown |= {"firstName": first, "lastName": last, "jobTitle": "", "department": ""}
    if extension.email is not None:
        shown["email"] = extension.email
    return shown


def _show_extension(links: Links, extension: Extension) -> Json:
    first, _, last = extension.name.partition(" ")
    contact: Json = {"firstName": first, "lastName": last, "businessPhone": extension.direct_number}
    if extension.email is not None:
        contact["email"] = extension.email
    if extension.mobile_number is not None:
        contact["mobilePhone"] = extension.mobile_number
    return {
        "uri": links.extension(extension.id),
        "id": int(extension.id),
        "extensionNumber": extension.number,
        "name": extension.name,
        "contact": contact,
        "type": extension.kind,
        "status": extension.status,
    }
