"""What every decoder starts with: the object in a body, or the error for a body that cannot be used. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from app.errors import RingCentralUnreachable
from app.ringcentral.wire import Response, decode_object
from app.values.storable import BadJson

T = TypeVar("T")


def read_object(response: Response) -> Mapping[str, Any]:
    try:
        return decode_object(response)
    except BadJson as error:
        raise unusable(response, str(error)) from error


def read_records(response: Response) -> tuple[Mapping[str, Any], list[Any]]:
    """Return the body of a list and its `records`."""
    body = read_object(response)
    records = body.get("records")
    if not isinstance(records, list):
        raise unusable(response, "the list has no records")
    return body, records


def read_with(response: Response, read: Callable[[Any], T | None], what: str) -> T:
    """Read the body as one value; `what` names it in the error."""
    found = read(read_object(response))
    if found is None:
        raise unusable(response, f"{what} cannot be read")
    return found


def read_inner(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object within an object; an empty one if there is none."""
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def unusable(response: Response, why: str) -> RingCentralUnreachable:
    return RingCentralUnreachable(
        f"RingCentral answered {response.status}, but {why}",
        status=response.status,
        request_id=response.request_id,
    )
