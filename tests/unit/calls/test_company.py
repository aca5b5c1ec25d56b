"""Whose number is whose, by RingCentral's usage types."""

from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import Row

from app.calls.company import make_company
from tests.fakes.clock import START

MAIN = "15550100100"


def extension(extension_id: str, *numbers: tuple[str | None, str | None], **fields: Any) -> Row[Any]:
    listed = [{"phoneNumber": number, "usageType": usage} for number, usage in numbers]
    columns = {"number": None, "name": None, "email": None, "kind": "User", "status": None}
    columns |= {"time_zone": None, "left_at": None}
    row = SimpleNamespace(extension_id=extension_id, phone_numbers=listed, **(columns | fields))
    return cast("Row[Any]", row)


def test_a_direct_number_is_the_company_s_and_leads_to_one_extension() -> None:
    company = make_company([extension("101", ("+15550100101", "DirectNumber"))], MAIN, "US")
    found = company.find(phone_number="+1 555 010 0101")
    assert found is not None
    assert (found.extension_id, found.numbers, found.private_numbers) == ("101", ("+15550100101",), ())
    assert company.owns("+15550100101")


def test_mobile_contact_and_forwarding_numbers_are_the_person_s_own() -> None:
    usages = ("MobileNumber", "ContactNumber", "ForwardedNumber", "ExternalMobileNumber")
    numbers = [(f"+1555016600{place}", usage) for place, usage in enumerate(usages)]
    company = make_company([extension("101", *numbers)], MAIN, "US")
    for e164, _ in numbers:
        owner = company.owner_of_private(e164)
        assert owner is not None
        assert owner.extension_id == "101"
        assert not company.owns(e164)
        assert company.find(phone_number=e164) is None


def test_the_main_number_is_nobody_s() -> None:
    rows = [
        extension("101", ("+15550100100", "ContactNumber"), ("+15550100101", "DirectNumber")),
        extension("800", ("+15550100100", "DirectNumber"), kind="IvrMenu"),
    ]
    company = make_company(rows, MAIN, "US")
    assert company.main_numbers == {"+15550100100"}
    assert company.find(phone_number="+15550100100") is None
    assert company.owner_of_private("+15550100100") is None
    assert company.owns("+15550100100")


def test_a_colleague_s_direct_number_is_nobody_s_private_one() -> None:
    rows = [
        extension("101", ("+15550100101", "DirectNumber")),
        extension("102", ("+15550100101", "ForwardedNumber"), ("+15550100102", "DirectNumber")),
    ]
    company = make_company(rows, MAIN, "US")
    assert company.owner_of_private("+15550100101") is None
    assert company.people["102"].private_numbers == ()


def test_a_private_number_of_two_people_is_neither_s() -> None:
    rows = [extension(one, ("+15550166007", "MobileNumber")) for one in ("101", "102")]
    assert make_company(rows, MAIN, "US").owner_of_private("+15550166007") is None


def test_numbers_of_unknown_use_and_what_is_no_number_are_ignored() -> None:
    row = extension(
        "101", ("+15550100101", "Quux"), (None, "DirectNumber"), ("anonymous", "DirectNumber"), ("7", None)
    )
    assert make_company([row], None, None).people["101"].numbers == ()


def test_who_has_left_is_found_by_id_alone() -> None:
    rows = [
        extension("102", ("+15550100102", "DirectNumber"), number="102", name="Ben Cho", left_at=START),
        extension("112", ("+15550100102", "DirectNumber"), number="102", name="Ida Petrov"),
    ]
    company = make_company(rows, MAIN, "US")
    former, present = company.find(extension_id="102"), company.find(extension_number="102")
    assert former is not None
    assert present is not None
    assert (former.name, present.name) == ("Ben Cho", "Ida Petrov")
    assert company.find(phone_number="+15550100102") is present
