"""Who is on a side of a call, and whether that is inside the company. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.calls.evidence.facts import Endpoint
from app.calls.evidence.people import Company, Person
from app.calls.evidence.statements import Role, Statement
from app.values.phone_numbers import NumberKind, PhoneNumber, read_phone_number


class Where(StrEnum):
    """Where a side is: of the company or not."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sides:
    """Reads sides with what is known of the company.

    `inside_numbers` are numbers in E.164 that witnesses of this call show together with an extension id.
    """

    company: Company
    inside_numbers: frozenset[str] = frozenset()
    dialled: Mapping[str, str] = field(default_factory=dict)
    """The extension that was called at a number, where only one was: a record may lack its extension."""

    short: Mapping[str, str] = field(default_factory=dict)
    """Extension ids by the short number that a witness shows together with them."""

    @classmethod
    def of(cls, statements: Sequence[Statement], company: Company) -> "Sides":
        """Learn from the statements of one call which numbers are extensions'."""
        known = cls(company)
        found = {
            known.number(side).e164
            for statement in statements
            for side in _sides_of_extensions(statement)
            if known.number(side).e164
        }
        short = {
            number: side.extension_id
            for statement in statements
            for side in (statement.caller, statement.callee, *(line.side for line in statement.lines))
            if side.extension_id and (number := side.extension_number or known.number(side).extension)
        }
        inside = frozenset(filter(None, found))
        return cls(company, inside, known._called_at(statements), short)

    def _called_at(self, statements: Iterable[Statement]) -> dict[str, str]:
        found: dict[str, set[str]] = defaultdict(set)
        for statement in statements:
            for line in statement.lines:
                number = self.number(line.side).e164
                if line.role is Role.CALLED and number and line.side.extension_id:
                    found[number].add(line.side.extension_id)
        return {number: min(ids) for number, ids in found.items() if len(ids) == 1}

    def number(self, side: Endpoint) -> PhoneNumber:
        """Return the number of a side; an empty one if it has none."""
        return read_phone_number(side.phone_number, self.company.region) or _NO_NUMBER

    def person(self, side: Endpoint) -> Person | None:
        """Return whose side this is, if the directory knows."""
        return self.company.find(
            extension_id=side.extension_id,
            extension_number=side.extension_number,
            phone_number=side.phone_number,
        )

    def where(self, side: Endpoint) -> Where:
        """Tell where a side is by what it shows of itself."""
        if side.extension_id or side.extension_number:
            return Where.INSIDE
        number = self.number(side)
        if number.kind is NumberKind.FULL and number.e164 is not None:
            is_ours = (
                self.company.owns(number.e164)
                or number.e164 in self.inside_numbers
                or self.company.owner_of_private(number.e164) is not None
            )
            return Where.INSIDE if is_ours else Where.OUTSIDE
        match number.kind:
            case NumberKind.EXTENSION:
                return Where.INSIDE
            case NumberKind.WITHHELD:
                return Where.OUTSIDE
            case NumberKind.SERVICE:
                return _where_is_service(number.raw)
            case _:
                # A masked number is still somebody's number.
                return Where.OUTSIDE if any(map(str.isdigit, number.raw)) else Where.UNKNOWN

    def is_same(self, one: Endpoint, other: Endpoint) -> bool:
        """Whether two descriptions can mean the same side: nothing that identifies it differs."""
        ours, theirs = self.extension_id(one), self.extension_id(other)
        if ours and theirs:
            return ours == theirs
        if one.extension_number and other.extension_number:
            return one.extension_number == other.extension_number
        mine, yours = self.number(one), self.number(other)
        if mine.raw and yours.raw:
            return (mine.e164 or mine.raw) == (yours.e164 or yours.raw)
        return True

    def is_known_same(self, one: Endpoint, other: Endpoint) -> bool:
        """Whether two descriptions surely mean the same person, by id or else by name."""
        ours, theirs = self.extension_id(one), self.extension_id(other)
        return ours == theirs if ours and theirs else one.name is not None and one.name == other.name

    def extension_id(self, side: Endpoint) -> str | None:
        """Return the extension of a side, by its id, by the directory, or by what other witnesses show."""
        if side.extension_id:
            return side.extension_id
        person = self.person(side)
        if person is not None:
            return person.extension_id
        return self.short.get(side.extension_number or self.number(side).extension or "")

    def is_machine(self, side: Endpoint) -> bool:
        """Whether the directory knows the side as a queue, a menu or the like."""
        person = self.person(side)
        return person is not None and not person.is_person

    def owner_of(self, side: Endpoint) -> str | None:
        """Return whose private phone a side is: the extension id, by the directory."""
        owner = self.company.owner_of_private(self.number(side).e164 or "")
        return owner.extension_id if owner else None

    def key(self, side: Endpoint) -> str:
        """Return a name for whoever is on the side, the same for all witnesses that know enough."""
        extension_id = self.extension_id(side)
        if extension_id:
            return f"extension:{extension_id}"
        number = self.number(side)
        short = side.extension_number or number.extension
        if short:
            return f"short:{short}"
        if number.e164 in self.dialled:
            return f"extension:{self.dialled[number.e164 or '']}"
        return f"number:{number.e164 or number.raw}" if number.raw else "unknown"

    def merge(self, candidates: Sequence[Endpoint]) -> Endpoint:
        """Take the first side that says who it is, and fill its gaps from others that mean the same."""
        first = next((side for side in candidates if side.has_identity), None)
        if first is None:
            return next((side for side in candidates if side), Endpoint())
        for side in candidates:
            if side is not first and self.is_same(first, side):
                first = first.or_else(side)
        return first

    def complete(self, side: Endpoint) -> Endpoint:
        """Add what the directory knows of the side."""
        person = self.person(side)
        number = self.number(side)
        short = side.extension_number or number.extension
        if person is None:
            return replace(side, extension_number=short)
        return side.or_else(
            Endpoint(None, person.name, person.extension_id, short or person.extension_number)
        )

    def to_json(self, side: Endpoint) -> dict[str, str] | None:
        """Return a side as the API shows it; None if nothing is known about it."""
        number = self.number(side)
        shown = number.e164 or side.phone_number
        full = {
            "phoneNumber": shown,
            "rawPhoneNumber": side.phone_number if side.phone_number != shown else None,
            "extensionNumber": side.extension_number,
            "extensionId": side.extension_id,
            "name": side.name,
            "location": side.location,
        }
        return {name: value for name, value in full.items() if value} or None


_NO_NUMBER = PhoneNumber("", NumberKind.UNREADABLE)


def _where_is_service(raw: str) -> Where:
    """Star codes and park locations are the company's own; a conference can have anybody in it."""
    if raw.casefold() == "conference":
        return Where.UNKNOWN
    return Where.INSIDE if raw.startswith(("*", "#")) else Where.OUTSIDE


def _sides_of_extensions(statement: Statement) -> Iterable[Endpoint]:
    if statement.caller.extension_id and statement.direction == "Outbound":
        yield statement.caller
    for line in statement.lines:
        # An extension's line shows the number that was dialled, which may be a shared one.
        if line.role is Role.CALLER and line.side.extension_id:
            yield line.side
