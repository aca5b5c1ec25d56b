"""Pages of lists to measure: every order with every filter that the API declares, and each filter with each
other, on the calls of `many_calls`.

The filters and their values are taken from the declaration, so that a new filter is among them.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, cycle
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.feed.positions import BEGINNING
from app.calls.listing.axes import Axis, axis_of
from app.calls.listing.cursors import digest_of, write_cursor
from app.calls.listing.filters import CallFilters, ListQuery, Order
from app.calls.listing.numbers import find_wanted_number
from tests.factories_calls import ACCOUNT
from tests.many_calls import start_of

PAGE = 50

RARE: dict[str, Sequence[Any]] = {
    "extension_id": ["7110002031", "7110009999"],
    "agent": ["7110002031", "7110009999"],
    "phone_number": ["+15550201017", "+15550170000", "+15550179001 x101"],
    "unlinked_crm": ["zoho"],
}
"""Values that few calls have, or none, besides the declared examples, which many have."""


class Case(NamedTuple):
    """One page: the first of its list, or one from the middle of all calls."""

    filters: dict[str, Any]
    order: Order
    is_deep: bool
    calls: int

    async def query(self, db: AsyncConnection) -> ListQuery:
        query = ListQuery(**self.filters, order=self.order, limit=PAGE)
        if not self.is_deep:
            return query
        if query.phone_number is not None:
            number = await find_wanted_number(db, ACCOUNT, query.phone_number)
            query = query.model_copy(update={"phone_number": number.values[0]})
        axis, middle = axis_of(self.order), self.calls // 2
        place: list[Any] = [middle] if axis is Axis.CHANGED else [start_of(middle), "call_"]
        cursor = write_cursor(digest_of(ACCOUNT, query), place, BEGINNING)
        return query.model_copy(update={"cursor": cursor})


def values_of(name: str, calls: int) -> list[Any]:
    """Return values of a filter: each of a closed set, moments of all ages, or the examples and rare ones."""
    schema = _declared_filters()
    declared = schema["properties"][name]
    is_list = "items" in declared
    kind = _resolve(declared.get("items", declared), schema)
    if kind.get("type") == "boolean":
        return [True, False]
    if kind.get("format") == "date-time":
        return [start_of(number) for number in (-100, calls // 10, calls // 2, calls - 100, calls + 100)]
    if "enum" in kind:
        words = kind["enum"]
        return [[word] for word in words] + [words[1:], words[:2]] if is_list else words
    examples = declared.get("examples", [])
    assert examples, f"{name} needs examples, with which it is tested"
    return [*examples, *RARE.get(name, [])]


@cache
def _declared_filters() -> dict[str, Any]:
    """Return the declaration, made once: each process of pytest-xdist asks for it three hundred times."""
    return CallFilters.model_json_schema(by_alias=False)


def _resolve(kind: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value that is set."""
    for choice in kind.get("anyOf", ()):
        if choice.get("type") != "null":
            return _resolve(choice, schema)
    return schema["$defs"][kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind


PAGES = [(order, is_deep) for order in Order for is_deep in (False, True)]


def _single_cases(calls: int) -> Iterator[Case]:
    """Each filter in each order, on the first page and deep in the list, with one of its values after the
    other."""
    for order, is_deep in PAGES:
        yield Case({}, order, is_deep, calls)
    for name in CallFilters.model_fields:
        values = cycle(values_of(name, calls))
        for order, is_deep in [*PAGES, *reversed(PAGES)]:
            yield Case({name: next(values)}, order, is_deep, calls)


def _pair_cases(calls: int) -> Iterator[Case]:
    """Each filter with each other, on one page after the other."""
    pages = cycle(PAGES)
    for one, other in combinations(CallFilters.model_fields, 2):
        ours, theirs = values_of(one, calls), values_of(other, calls)
        yield Case({one: ours[0], other: theirs[-1]}, *next(pages), calls)
        yield Case({one: ours[len(ours) // 2], other: theirs[len(theirs) // 2]}, *next(pages), calls)


def all_cases(calls: int) -> list[Case]:
    """Return the pages for an account with so many calls."""
    return [*_single_cases(calls), *_pair_cases(calls)]
