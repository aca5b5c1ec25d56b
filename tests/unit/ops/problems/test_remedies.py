"""The names of problems: one table in the code, the same one in the docs."""

import re
from pathlib import Path

import pytest

from app.accounts.overview import OTHER_APP, UNREADABLE
from app.ops.problems.remedies import all_titles, remedy_of
from app.ringcentral.reachability import Unreached
from app.webhooks.subscriptions.remedies import ADVICE

PAGE = Path(__file__).parents[4] / "docs" / "operations.md"


def test_the_docs_list_the_problems_that_can_be_shown_and_no_others() -> None:
    table = PAGE.read_text().partition("| problem | do |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| \*(.+?)\*", table, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == all_titles()


@pytest.mark.parametrize("code", [*Unreached])
def test_what_cannot_be_reached_is_never_blamed_on_our_address(code: str) -> None:
    for about in ("reach", "subscription", "credentials", "sweep"):
        remedy = remedy_of(about, code)
        assert remedy.title in {"RingCentral cannot be reached", "RingCentral answers with errors"}
        assert "AFTERCALL_PUBLIC_URL" not in remedy.todo


@pytest.mark.parametrize("code", sorted(ADVICE))
def test_each_refusal_of_a_subscription_is_told_from_trouble_on_the_way(code: str) -> None:
    is_deaf = code in {"SUB-520", "SUB-521", "SUB-523", "SUB-524", "SUB-525"}
    title = "RingCentral cannot reach us" if is_deaf else "RingCentral refuses the subscription"
    assert remedy_of("subscription", code).title == title


@pytest.mark.parametrize("code", [UNREADABLE, OTHER_APP])
def test_what_cannot_be_used_here_is_not_called_refused(code: str) -> None:
    assert remedy_of("credentials", code).title == "Stored credentials cannot be used"


def test_an_unknown_code_is_named_after_what_it_is_about() -> None:
    assert remedy_of("sweep", "XYZ-1").title == "A part of the Call Log is not read"
    assert remedy_of("account", "XYZ-1").title == "Something is wrong with this account"
