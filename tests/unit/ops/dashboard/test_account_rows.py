"""The accounts and their credentials in words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.accounts.access import Access, Level
from app.accounts.overview import AccountOverview, CredentialStatus
from app.ids import AccountId, ExtensionId
from app.ops.dashboard.account_rows import describe_accounts
from app.ops.figures.summary import ServiceSummary
from app.ops.problems.model import ProblemToFix, Subject

NOW = datetime(2026, 3, 10, 18, 10, tzinfo=UTC)
TEA = AccountId("908070001")
ENDED = {"code": "sign-in-again", "detail": "sign in again", "since": None}


def summary_of(accounts: list[AccountOverview], **fields: Any) -> ServiceSummary:
    values: dict[str, Any] = {
        "at": NOW,
        "window_seconds": 120.0,
        "lag_min_seconds": 3.0,
        "lag_max_seconds": 10.0,
        "last_read_at": NOW - timedelta(minutes=5),
        "accounts": tuple(accounts),
    }
    return ServiceSummary(**values | fields)


def member(name: str = "own", *problems: dict[str, Any], **fields: Any) -> CredentialStatus:
    return CredentialStatus(
        AccountId("~"), name, "own" if name == "own" else "jwt", Access(), problems, NOW, **fields
    )


def test_accounts_show_reach_and_problems_of_credentials() -> None:
    alone = CredentialStatus(
        TEA,
        "ext-2",
        "oauth",
        Access(Level.EXTENSION, ExtensionId("711000102")),
        (ENDED,),
        NOW,
        is_blocked=True,
    )
    shown = describe_accounts(summary_of([AccountOverview(TEA, True, None, (member(), alone))]))
    (line,) = shown["lines"]
    assert (line["name"], line["tone"]) == ("Account 908070001", "waiting")
    assert [(one["kind"], one["sees"], one["tone"], one["todo"]) for one in line["credentials"]] == [
        ("JWT of the environment", "can see the whole account", "good", []),
        ("signed in", "can see extension 711000102 only", "bad", ["sign in again"]),
    ]
    assert (shown["state"]["value"], shown["state"]["note"]) == ("1 account", "it needs attention")


@pytest.mark.parametrize(
    ("accounts", "state"),
    [
        ([], ("None", "set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT", "waiting")),
        ([AccountOverview(TEA, True, None, (member(),))], ("1 account", "can be read", "good")),
        (
            [
                AccountOverview(TEA, True, None, (member(),)),
                AccountOverview(AccountId("2"), False, NOW, (member("ext-1", ENDED, is_blocked=True),)),
                AccountOverview(AccountId("3"), False, NOW, ()),
            ],
            ("2 accounts", "1 of 2 needs attention", "bad"),
        ),
    ],
)
def test_state_of_all_accounts(accounts: list[AccountOverview], state: tuple[str, str, str]) -> None:
    shown = describe_accounts(summary_of(accounts))["state"]
    assert (shown["value"], shown["note"], shown["tone"]) == state


def test_account_without_credentials() -> None:
    (line,) = describe_accounts(summary_of([AccountOverview(TEA, False, NOW, ())]))["lines"]
    assert (line["credentials"], line["tone"]) == ([], "")
    assert "No credentials" in line["note"]


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"last_read_at": None}, ("1 account", "not read yet", "")),
        ({"last_read_at": NOW - timedelta(hours=3)}, ("1 account", "last read 3 h 00 min ago", "waiting")),
        (
            {"problems": (ProblemToFix("~", Subject.REACH, "unreachable-name", "no answer"),)},
            ("1 account", "not now: RingCentral cannot be reached", "bad"),
        ),
    ],
)
def test_account_is_not_green_without_a_recent_read(
    fields: dict[str, Any], state: tuple[str, str, str]
) -> None:
    shown = describe_accounts(summary_of([AccountOverview(TEA, True, None, (member(),))], **fields))["state"]
    assert (shown["value"], shown["note"], shown["tone"]) == state
