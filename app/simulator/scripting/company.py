"""The simulated company: its extensions, its customers and the permissions of its users. No I/O.

All names are invented, and the numbers are in ranges that cannot be dialled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

READ_COMPANY_CALL_LOG = "ReadCompanyCallLog"
READ_CALL_LOG = "ReadCallLog"
READ_CALL_RECORDING = "ReadCallRecording"
ACCESS_INSIGHTS = "AccessInsights"
READ_EXTENSIONS = "ReadExtensions"
READ_MESSAGES = "ReadMessages"

ADMINISTRATOR = frozenset(
    {
        READ_COMPANY_CALL_LOG,
        READ_CALL_LOG,
        READ_CALL_RECORDING,
        "ReadPresenceStatus",
        ACCESS_INSIGHTS,
        READ_EXTENSIONS,
        READ_MESSAGES,
    }
)
"""The permissions of a service user with company-level access."""

ORDINARY = frozenset({READ_CALL_LOG, READ_CALL_RECORDING, READ_EXTENSIONS, READ_MESSAGES})
"""The permissions of an employee: access to the own extension, not to the company."""


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension; `kind` is RingCentral's extension type (User, Department for a queue, IvrMenu).

    `mobile_number` is the person's own, outside the company.
    """

    id: str
    number: str
    name: str
    direct_number: str
    kind: str = "User"
    location: str = "San Mateo, CA"
    email: str | None = None
    mobile_number: str | None = None
    status: str = "Enabled"

    @property
    def is_person(self) -> bool:
        """Whether somebody takes and places calls there."""
        return self.kind == "User" and self.status == "Enabled"


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer. `caller_id` is what the public network shows before the name is looked up."""

    number: str
    name: str
    caller_id: str = "WIRELESS CALLER"
    location: str = "Oakland, CA"


@dataclass(frozen=True, slots=True)
class User:
    """The user of a JWT credential: an extension and the permissions of its role."""

    extension_id: str
    permissions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Company:
    """A company and its customers. Immutable: it holds no calls."""

    account_id: str
    company_name: str
    main_number: str
    extensions: Sequence[Extension]
    customers: Sequence[Customer]
    _by_id: dict[str, Extension] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {extension.id: extension for extension in self.extensions})

    def extension(self, extension_id: str) -> Extension | None:
        return self._by_id.get(extension_id)

    def find(self, number: str) -> Extension | None:
        """Find an extension by its short number, its direct number or its id."""
        for extension in self.extensions:
            if number in (extension.number, extension.direct_number, extension.id):
                return extension
        return None

    @property
    def people(self) -> list[Extension]:
        return [extension for extension in self.extensions if extension.is_person]

    @property
    def queue(self) -> Extension:
        return next(extension for extension in self.extensions if extension.kind == "Department")

    @property
    def ivr(self) -> Extension:
        return next(extension for extension in self.extensions if extension.kind == "IvrMenu")


def _person(ordinal: int, name: str, status: str = "Enabled") -> Extension:
    return Extension(
        f"7110001{ordinal:02d}",
        f"1{ordinal:02d}",
        name,
        f"+155501001{ordinal:02d}",
        email=f"{name.lower().replace(' ', '.')}@northwind-tea.example",
        mobile_number=f"+1555016{6006 + ordinal}",
        status=status,
    )


_PEOPLE = (
    "Ana Ruiz",
    "Ben Cho",
    "Chloe Martin",
    "David Osei",
    "Elif Kaya",
    "Femi Adeyemi",
    "Grace Lindqvist",
    "Hugo Moreau",
)
SERVICE_EXTENSION_ID = "711000190"

_CUSTOMERS = (
    ("Dana Field", "WIRELESS CALLER", "San Mateo, CA"),
    ("Elliot Marsh", "MARSH ELLIOT", "Oakland, CA"),
    ("Fiona Grant", "WIRELESS CALLER", "Portland, OR"),
    ("Gabriel Stone", "STONE & SONS", "Denver, CO"),
    ("Hannah Vogel", "WIRELESS CALLER", "Seattle, WA"),
    ("Imran Shah", "SHAH IMRAN", "Austin, TX"),
    ("Julia Nowak", "WIRELESS CALLER", "Chicago, IL"),
    ("Kenji Watanabe", "KW DESIGN", "San Jose, CA"),
    ("Leila Haddad", "WIRELESS CALLER", "Phoenix, AZ"),
    ("Marco Bianchi", "BIANCHI FOODS", "Boston, MA"),
    ("Nora Jensen", "WIRELESS CALLER", "Minneapolis, MN"),
    ("Oscar Delgado", "DELGADO O", "Miami, FL"),
)

COMPANY = Company(
    account_id="908070001",
    company_name="Northwind Tea",
    main_number="+15550100100",
    extensions=(
        *(_person(ordinal, name) for ordinal, name in enumerate(_PEOPLE, start=1)),
        Extension(SERVICE_EXTENSION_ID, "190", "Call Log Service", "+15550100190"),
        Extension("711000800", "800", "Main Menu", "+15550100100", kind="IvrMenu"),
        Extension("711000900", "900", "Sales", "+15550100900", kind="Department"),
        _person(9, "Ida Petrov", status="Disabled"),
    ),
    customers=tuple(
        Customer(f"+1555017{9001 + ordinal}", name, caller_id, location)
        for ordinal, (name, caller_id, location) in enumerate(_CUSTOMERS)
    ),
)

OUTSIDE_NUMBER = "+15550174410"
"""A number outside the company that is nobody's of the customers above: a partner's."""

ANA_ID = "711000101"
BEN_ID = "711000102"


def users_of(jwt: str) -> dict[str, User]:
    """Map JWT credentials to users: the administrator, a second service user and one without company access.

    `<jwt>` acts as Ana, `<jwt>-second` as the service extension (with its own rate bucket), `<jwt>-limited`
    as Ben, whose company-level requests are refused.
    """
    return {
        jwt: User(ANA_ID, ADMINISTRATOR),
        f"{jwt}-second": User(SERVICE_EXTENSION_ID, ADMINISTRATOR),
        f"{jwt}-limited": User(BEN_ID, ORDINARY),
    }
