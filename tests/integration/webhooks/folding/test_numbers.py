"""Numbers of events: a call has one normal form of them, whichever spelling RingCentral used."""

from typing import Any

import pytest
from sqlalchemy import select

from app.calls.accounts import open_unbound
from app.calls.regions import store_home_country
from app.db.tables import call_parties
from tests.factories import ANA_NUMBER, delivery, party, sides
from tests.integration.webhooks.conftest import Intake


async def fold(intake: Intake, raw: str, country: str | None) -> tuple[Any, set[str]]:
    """Fold a missed call from a number; return the call, and the numbers by which it is found."""
    async with intake.database.write() as db:
        await open_unbound(db, intake.clock.now())
        await store_home_country(db, country)
    caller, callee = {"phoneNumber": raw}, {"phoneNumber": ANA_NUMBER, "extensionId": "711000101"}
    first = party(2, "Proceeding", extensionId="711000101", direction="Inbound", **sides(caller, callee))
    await intake.fold([delivery(first, uuid="1")])
    (call,) = await intake.calls()
    async with intake.database.read() as db:
        found = await db.scalars(select(call_parties.c.value).where(call_parties.c.kind == "number"))
        return call, set(found)


@pytest.mark.parametrize(
    ("raw", "country", "e164"),
    [
        ("18665550106", None, "+18665550106"),
        ("18665550106", "US", "+18665550106"),
        ("+1 866-555-0106", "DE", "+18665550106"),
        ("0301234567", "DE", "+49301234567"),
        ("8665550106", "US", "+18665550106"),
    ],
)
async def test_the_outside_number_is_in_e164(
    intake: Intake, raw: str, country: str | None, e164: str
) -> None:
    call, numbers = await fold(intake, raw, country)
    assert call.external_number == e164
    assert numbers == {e164, ANA_NUMBER}


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ("anonymous", "anonymous"),
        ("Restricted", "anonymous"),
        ("+1555017XXXX", "+1555017xxxx"),
        ("0301234567", "0301234567"),
    ],
)
async def test_what_is_no_number_is_nobodys_outside_number(intake: Intake, raw: str, stored: str) -> None:
    call, numbers = await fold(intake, raw, "US")
    assert call.external_number is None
    assert numbers == {stored, ANA_NUMBER}
