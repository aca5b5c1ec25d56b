"""Decides which accounts a step of the folder serves. Pure."""

from collections.abc import Iterable
from zlib import crc32

from app.ids import AccountId


class Rota:
    """Takes turns among the accounts with deliveries, `most` at a time.

    Each replica has an order of its own, so that two of them rarely want the same account.
    """

    def __init__(self, replica: str, most: int) -> None:
        self._replica = replica
        self._most = most
        self._last = -1

    def take(self, account_ids: Iterable[AccountId]) -> list[AccountId]:
        """Return the accounts that come next; all have their turn before one has another."""
        places = {one: crc32(f"{self._replica} {one}".encode()) for one in account_ids}
        ordered = sorted(places, key=lambda one: (places[one] <= self._last, places[one]))
        taken = ordered[: self._most]
        if taken:
            self._last = places[taken[-1]]
        return taken
