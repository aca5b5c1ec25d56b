"""One user's connection to one account, and which connections to use for the account's calls."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.accounts.access import Access, Level
from app.accounts.credentials import OWN
from app.ids import AccountId, ExtensionId
from app.rate_limits.shared_buckets import SharedRates
from app.ringcentral.client import RingCentralClient


@dataclass(frozen=True, slots=True)
class Connection:
    """Credentials in use. `holder` is `~` for those of the environment, else the account's id."""

    holder: AccountId
    name: str
    client: RingCentralClient = field(repr=False)
    rates: SharedRates = field(repr=False)
    access: Access = field(default_factory=Access)
    kind: str = OWN
    """`own` (the environment's), `jwt` or `oauth` (a user signed in)."""
    secret: bytes | None = field(default=None, repr=False)
    """As it is stored; None for the environment's."""

    @property
    def is_company_wide(self) -> bool:
        return self.access.level is Level.ACCOUNT

    @property
    def extension_id(self) -> ExtensionId | None:
        """The extension whose calls it shows; None: all extensions."""
        return None if self.is_company_wide else self.access.extension_id


def serving(connections: Sequence[Connection], *, beside_polls: bool = False) -> Sequence[Connection]:
    """Select the connections that read an account's calls: one that shows them all, else each user's own.

    Connections with a problem are left out. Of several company-wide ones the first polls, and the last does
    the work `beside_polls`: a second service user has rate buckets of its own.
    """
    well = [connection for connection in connections if connection.access.problem is None]
    company_wide = [item for item in well if item.is_company_wide]
    return (company_wide[-1:] if beside_polls else company_wide[:1]) or well
