"""Reading a conversation: by its id or by any of its calls, as described, with its ETag."""

from datetime import timedelta

import httpx
import pytest

from app.calls.conversations import view
from app.calls.conversations.schemas import ConversationOut
from app.calls.ledger import open_ledger
from app.calls.model import Call, LinkKind, Stage
from app.calls.related.links import Link
from app.calls.related.store import link_calls
from app.calls.schemas import CallOut
from app.db.engine import Database
from app.ids import AccountId
from tests.factories_calls import ACCOUNT, ANA, BEN, seed_call, seed_link, seed_note
from tests.fakes.clock import START

ANA_AS_AGENT = {
    "extensionId": ANA,
    "extensionNumber": "101",
    "name": "Ana Ruiz",
    "email": None,
    "role": "placed",
    "answeredAt": None,
    "talkSeconds": None,
}
LATER = START + timedelta(minutes=1)


@pytest.fixture
async def pair(database: Database) -> tuple[Call, Call]:
    """A customer's call and the consultation before its transfer, which names the customer's."""
    consultation = await seed_call(
        database,
        started_at=LATER,
        internal=True,
        external_number=None,
        direction="Outbound",
        caller={"extensionId": ANA, "name": "Ana Ruiz"},
        callee={"extensionId": BEN, "extensionNumber": "102", "name": "Ben Cho"},
        extensions=[ANA, BEN],
        details={
            "talkSeconds": 30.25,
            "agents": [ANA_AS_AGENT],
        },
    )
    customer = await seed_call(database, details={"talkSeconds": 60.0})
    links = {
        str(consultation.call_id): [
            Link(consultation.telephony_session_id, customer.telephony_session_id, LinkKind.ATTENDED_TRANSFER)
        ]
    }
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        await link_calls(ledger, links, {consultation.call_id: consultation}, {})
    return customer, consultation


async def test_a_conversation_is_found_by_its_id_and_by_any_name_of_its_calls(
    client: httpx.AsyncClient, pair: tuple[Call, Call]
) -> None:
    customer, consultation = pair
    first = await client.get(f"/v1/conversations/{customer.call_id}")
    assert first.status_code == 200
    names = [
        first.json()["id"],
        consultation.call_id,
        customer.session_id,
        consultation.session_id,
        customer.telephony_session_id,
    ]
    for name in names:
        assert (await client.get(f"/v1/conversations/{name}")).json() == first.json()


async def test_a_conversation_has_its_calls_people_and_sums(
    client: httpx.AsyncClient, database: Database, pair: tuple[Call, Call]
) -> None:
    customer, consultation = pair
    await seed_note(database, customer.call_id)
    await seed_note(database, consultation.call_id)
    await seed_link(database, customer.call_id)
    shown = (await client.get(f"/v1/conversations/{consultation.call_id}")).json()
    assert shown["id"].startswith("conv_")
    assert shown["mainCallId"] == customer.call_id
    assert (shown["direction"], shown["internal"], shown["externalNumber"], shown["outcome"]) == (
        "Inbound",
        False,
        "+15550179001",
        "answered",
    )
    assert shown["startTime"] == "2026-03-10T18:07:41.000Z"
    assert shown["endTime"] == "2026-03-10T18:10:17.000Z"
    assert (shown["talkSeconds"], shown["callCount"]) == (90.25, 2)
    assert [(call["id"], call["isMain"]) for call in shown["calls"]] == [
        (customer.call_id, True),
        (consultation.call_id, False),
    ]
    assert [(call["noteCount"], call["linkCount"]) for call in shown["calls"]] == [(1, 1), (1, 0)]
    assert (shown["noteCount"], shown["linkCount"]) == (2, 1)
    assert shown["related"] == [
        {
            "kind": "attendedTransfer",
            "callId": customer.call_id,
            "otherCallId": consultation.call_id,
            "otherTelephonySessionId": consultation.telephony_session_id,
        }
    ]
    assert shown["people"] == [
        {"extensionId": ANA, "extensionNumber": "101", "name": "Ana Ruiz"},
        {"extensionId": BEN, "extensionNumber": "102", "name": "Ben Cho"},
    ]
    assert shown["numbers"] == ["+15550179001"]


async def test_the_description_has_every_field(client: httpx.AsyncClient, pair: tuple[Call, Call]) -> None:
    shown = (await client.get(f"/v1/conversations/{pair[0].call_id}")).json()
    assert ConversationOut.model_validate(shown).model_dump(mode="json", by_alias=True).keys() == shown.keys()
    described = ConversationOut.model_json_schema(by_alias=True)
    for model, parts in (("ConversationCall", "calls"), ("ConversationLink", "related")):
        assert shown[parts][0].keys() == described["$defs"][model]["properties"].keys()
    assert shown["people"][0].keys() == described["$defs"]["ConversationPerson"]["properties"].keys()
    assert described["example"].keys() == shown.keys()
    assert described["example"]["calls"][0].keys() == shown["calls"][0].keys()


async def test_each_call_shows_its_conversation(client: httpx.AsyncClient, pair: tuple[Call, Call]) -> None:
    customer, consultation = pair
    one, other = [(await client.get(f"/v1/calls/{call.call_id}")).json() for call in pair]
    for call in (one, other):
        assert CallOut.model_validate(call).conversation.id == call["conversationId"] is not None
        assert call["conversation"]["mainCallId"] == customer.call_id
    assert (one["conversation"]["isMain"], other["conversation"]["isMain"]) == (True, False)
    assert [call["id"] for call in (await client.get("/v1/calls?main=false")).json()["data"]] == [
        consultation.call_id
    ]


async def test_a_call_without_related_calls_is_a_conversation_of_its_own(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, internal=True)
    shown = (await client.get(f"/v1/conversations/{call.call_id}")).json()
    assert (shown["id"], shown["mainCallId"], shown["callCount"], shown["related"]) == (
        None,
        call.call_id,
        1,
        [],
    )
    assert (await client.get(f"/v1/calls/{call.call_id}")).json()["conversation"] == {
        "id": None,
        "mainCallId": call.call_id,
        "isMain": True,
    }


async def test_while_a_call_goes_on_there_is_no_end(
    client: httpx.AsyncClient, database: Database, pair: tuple[Call, Call]
) -> None:
    _, consultation = pair
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        ledger.move(consultation, Stage.LIVE, "call.revived")
    shown = (await client.get(f"/v1/conversations/{consultation.call_id}")).json()
    assert (shown["outcome"], shown["endTime"]) == ("inProgress", None)


async def test_the_etag_changes_with_any_of_the_calls(
    client: httpx.AsyncClient, database: Database, pair: tuple[Call, Call]
) -> None:
    path = f"/v1/conversations/{pair[0].call_id}"
    etag = (await client.get(path)).headers["etag"]
    again = await client.get(path, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    await seed_note(database, pair[1].call_id)
    assert (await client.get(path, headers={"If-None-Match": etag})).status_code == 200


@pytest.mark.parametrize("name", ["conv_unknown", "call_unknown", "987654321", "s-unknown"])
async def test_an_unknown_name_is_answered_with_a_problem(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/v1/conversations/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert name in answer.json()["detail"]


async def test_an_ambiguous_name_gets_its_candidates(client: httpx.AsyncClient, database: Database) -> None:
    seeded = [await seed_call(database, session_id="1229016182016") for _ in range(2)]
    answer = await client.get("/v1/conversations/1229016182016")
    assert answer.status_code == 409
    assert set(answer.json()["candidates"]) == {call.call_id for call in seeded}


async def test_an_unknown_parameter_is_refused(client: httpx.AsyncClient, pair: tuple[Call, Call]) -> None:
    answer = await client.get(f"/v1/conversations/{pair[0].call_id}?limit=3")
    assert answer.status_code == 422


async def test_conversations_of_other_accounts_are_unknown(
    client: httpx.AsyncClient, database: Database
) -> None:
    other = await seed_call(database, AccountId("555000111"), conversation_id="conv_other")
    for name in ("conv_other", other.call_id):
        assert (await client.get(f"/v1/conversations/{name}")).status_code == 404


async def test_a_large_conversation_shows_its_first_calls_and_their_number(
    client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "MOST_SHOWN", 2)
    seeded = [
        await seed_call(database, started_at=START + number * (LATER - START), conversation_id="conv_large")
        for number in (2, 0, 1)
    ]
    shown = (await client.get("/v1/conversations/conv_large")).json()
    assert shown["callCount"] == 3
    assert [call["id"] for call in shown["calls"]] == [seeded[1].call_id, seeded[2].call_id]
