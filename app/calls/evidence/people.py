"""The people and numbers of a company, as far as they are known. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.values.phone_numbers import NumberKind, read_phone_number

USER = "User"
QUEUE = "Department"
"""RingCentral's word for a call queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One entry of the directory.

    `kind` is RingCentral's extension type: User, Department (a call queue), IvrMenu and others; None if
    unknown. `numbers` are the entry's own numbers in E.164; `private_numbers` are numbers outside the company
    at which it is reached: mobile, contact and forwarding numbers.
    """

    extension_id: str
    extension_number: str | None = None
    name: str | None = None
    email: str | None = None
    kind: str | None = None
    status: str | None = None
    time_zone: str | None = None
    numbers: tuple[str, ...] = ()
    private_numbers: tuple[str, ...] = ()

    @property
    def is_queue(self) -> bool:
        return self.kind == QUEUE

    @property
    def is_person(self) -> bool:
        """Whether somebody can be talked to there; an entry of unknown kind counts."""
        return self.kind in (None, USER)


@dataclass(frozen=True, slots=True)
class Company:
    """What is known of an account beside its calls; everything may be missing.

    `region` is the two-letter country code in which numbers without a `+` are read. `main_numbers` are shared
    numbers of the company in E.164: calls to and from them do not tell whose they are.
    """

    region: str | None = None
    main_numbers: frozenset[str] = frozenset()
    people: Mapping[str, Person] = field(default_factory=dict)
    """By extension id."""

    _by_number: Mapping[str, Person] = field(default_factory=dict)
    _by_private: Mapping[str, Person] = field(default_factory=dict)
    _by_extension: Mapping[str, Person] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        people: Iterable[Person],
        *,
        region: str | None = None,
        main_numbers: Iterable[str] = (),
        former: Iterable[Person] = (),
    ) -> "Company":
        """Collect a directory. A number that several entries have belongs to none of them.

        `former` are people who have left: they are found by extension id only, because somebody else may have
        their numbers now.
        """
        listed = list(people)
        shared = frozenset(main_numbers)
        return cls(
            region,
            shared,
            {person.extension_id: person for person in [*former, *listed]},
            _unique(
                (number, person) for person in listed for number in person.numbers if number not in shared
            ),
            _unique((number, person) for person in listed for number in person.private_numbers),
            _unique((person.extension_number, person) for person in listed if person.extension_number),
        )

    def find(
        self,
        *,
        extension_id: str | None = None,
        extension_number: str | None = None,
        phone_number: str | None = None,
    ) -> Person | None:
        """Return whose extension or number this is. `phone_number` may have any spelling."""
        if extension_id and extension_id in self.people:
            return self.people[extension_id]
        number = read_phone_number(phone_number, self.region)
        if number is not None and number.kind is NumberKind.FULL and number.extension is None:
            found = self._by_number.get(number.e164 or "")
            if found is not None:
                return found
        short = extension_number or (number.extension if number is not None else None)
        return self._by_extension.get(short) if short else None

    def owner_of_private(self, e164: str) -> Person | None:
        """Return whose mobile or forwarding number this is."""
        return self._by_private.get(e164)

    def owns(self, e164: str) -> bool:
        """Whether the number belongs to the company."""
        return e164 in self.main_numbers or e164 in self._by_number


UNKNOWN_COMPANY = Company()
"""A company of which nothing is known."""


def _unique(pairs: Iterable[tuple[str, Person]]) -> dict[str, Person]:
    found: dict[str, Person] = {}
    repeated: set[str] = set()
    for name, person in pairs:
        if name in found and found[name].extension_id != person.extension_id:
            repeated.add(name)
        found[name] = person
    return {name: person for name, person in found.items() if name not in repeated}
