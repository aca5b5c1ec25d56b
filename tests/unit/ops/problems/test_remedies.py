"""The names of problems: one table in the code, the same one in the docs."""

import re
from pathlib import Path

import pytest

from app.errors import AccessReason
from app.ops.problems.remedies import all_titles, remedy_for
from app.ringcentral.reachability import Unreached
from app.webhooks.subscriptions.remedies import ADVICE

PAGE = Path(__file__).parents[4] / "docs" / "operations.md"


def test_docs_list_exactly_the_problems_that_can_be_shown() -> None:
    table = PAGE.read_text().partition("| problem | do |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| \*(.+?)\*", table, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == all_titles()


@pytest.mark.parametrize("code", [*Unreached])
def test_unreachable_ringcentral_is_not_blamed_on_our_address(code: str) -> None:
    for about in ("reach", "subscription", "credentials", "sweep"):
        remedy = remedy_for(about, code)
        assert remedy.title in {"RingCentral cannot be reached", "RingCentral answers with errors"}
        assert "AFTERCALL_PUBLIC_URL" not in remedy.todo


@pytest.mark.parametrize("code", sorted(ADVICE))
def test_refused_subscription_differs_from_unreachable_service(code: str) -> None:
    is_deaf = code in {"SUB-520", "SUB-521", "SUB-523", "SUB-524", "SUB-525"}
    title = "RingCentral cannot reach us" if is_deaf else "RingCentral refuses the subscription"
    assert remedy_for("subscription", code).title == title


@pytest.mark.parametrize("code", [AccessReason.UNREADABLE, AccessReason.OTHER_APP])
def test_unusable_credentials_are_not_reported_as_refused(code: str) -> None:
    assert remedy_for("credentials", code).title == "Stored credentials cannot be used"


def test_unknown_code_falls_back_to_the_subject() -> None:
    assert remedy_for("sweep", "XYZ-1").title == "Part of the Call Log cannot be read"
    assert remedy_for("records", "XYZ-1").title == "Something is wrong with this account"
