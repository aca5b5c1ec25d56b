"""Which accounts a step of the folder serves."""

from app.ids import AccountId
from app.webhooks.folding.rota import Rota


def test_all_accounts_have_their_turn_before_one_has_another() -> None:
    accounts = [AccountId(str(number)) for number in range(10)]
    rota = Rota("one", 4)
    turns = [rota.take(accounts) for _ in range(5)]
    assert [len(turn) for turn in turns] == [4] * 5
    in_order = [account for turn in turns for account in turn]
    assert set(in_order[:10]) == set(accounts)
    assert in_order[:10] == in_order[10:]


def test_replicas_begin_with_different_accounts() -> None:
    accounts = [AccountId(str(number)) for number in range(100)]
    assert set(Rota("one", 10).take(accounts)) != set(Rota("two", 10).take(accounts))


def test_no_accounts_are_no_turns() -> None:
    assert Rota("one", 4).take([]) == []
