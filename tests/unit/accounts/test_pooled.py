"""Which credentials share the polls of a whole account."""

from dataclasses import replace
from typing import Any, cast

from app.accounts.access import Access, Level
from app.accounts.connections import Connection, pooled
from app.ids import AccountId, ExtensionId


def connection(name: str, owner: str | None, **access: Any) -> Connection:
    made = Connection(AccountId("1"), name, cast("Any", None), cast("Any", None))
    return replace(made, access=Access(owner_id=ExtensionId(owner) if owner else None, **access))


def names(*connections: Connection) -> list[str]:
    return [item.name for item in pooled(connections)]


ANA, BEN = connection("ana", "101"), connection("ben", "102")
UNKNOWN = connection("unknown", None)
REFUSED = connection("refused", "103", problem={"code": "OAU-236"})
PART = connection("part", "104", level=Level.EXTENSION, extension_id="104")
ELSEWHERE = connection("elsewhere", "105", lacks={"wrong-account": {"code": "wrong-account"}})


def test_users_who_see_the_whole_account_poll_in_turn() -> None:
    assert names(ANA, BEN) == ["ana", "ben"]


def test_a_user_counts_once_however_many_credentials_there_are() -> None:
    assert names(ANA, connection("own", "101"), BEN) == ["ana", "ben"]


def test_a_user_who_is_not_known_yet_may_be_one_of_the_others() -> None:
    assert names(UNKNOWN, ANA) == ["ana"]
    assert names(UNKNOWN, connection("second", None)) == ["unknown"]


def test_credentials_that_show_less_or_other_calls_do_not_join() -> None:
    assert names(ANA, REFUSED, PART, ELSEWHERE, BEN) == ["ana", "ben"]
    assert names(PART, REFUSED) == []


def test_credentials_of_another_account_poll_when_there_are_no_others() -> None:
    assert names(ELSEWHERE) == ["elsewhere"]
