"""Two companies with different permissions in one service: every call finds its record, and they stay
separate.
"""

from app.simulator.scripting.casting import CallOptions
from tests.conftest import answer_to
from tests.integration.accounts.conftest import COFFEE, TEA, Json, Stage

FOUND = ("bootstrapped", "reconciled", "final")
SHORT = CallOptions(talk_seconds=10.0, ring_seconds=5.0)


async def found_calls(stage: Stage, key: str, count: int) -> list[Json]:
    async def look() -> list[Json] | None:
        calls: list[Json] = (await stage.get("/v1/calls", key=key))["data"]
        found = [one for one in calls if one["stage"] in FOUND]
        return found if len(found) >= count else None

    return await answer_to(look)


async def subscribed(stage: Stage, *companies: str) -> None:
    async def look() -> bool:
        held = {TEA: stage.tea.subscriptions, COFFEE: stage.coffee.subscriptions}
        return all(held[company] for company in companies)

    await answer_to(look)


async def test_an_own_account_and_a_connected_one_are_served_side_by_side(busy_stage: Stage) -> None:
    stage = busy_stage
    await subscribed(stage, TEA)
    assert (await stage.sign_in(f"{COFFEE}*190")).status_code == 200
    await subscribed(stage, TEA, COFFEE)
    for company in (stage.tea, stage.coffee):
        company.start_call("inbound_direct", SHORT)
        company.start_call("outbound_answered", SHORT)
    for account_id, company in ((TEA, stage.tea), (COFFEE, stage.coffee)):
        calls = await found_calls(stage, await stage.key_of(account_id), 2)
        played = {s.telephony_session_id for call in company.calls for s in call.sessions}
        assert {call["telephonySessionId"] for call in calls} == played
        assert {call["accountId"] for call in calls} == {account_id}
        assert all(call["result"] for call in calls)
    own = await stage.account(TEA)
    assert own is not None
    assert own["isOwn"], "the account of the environment's credentials"


async def test_a_failing_company_does_not_affect_the_other(busy_stage: Stage) -> None:
    stage = busy_stage
    await stage.sign_in(f"{COFFEE}*190")
    await subscribed(stage, TEA, COFFEE)
    stage.coffee.faults = stage.coffee.faults.model_copy(update={"latency_seconds": 30.0})
    stage.tea.start_call("inbound_direct", SHORT)
    stage.coffee.start_call("inbound_direct", SHORT)
    (call,) = await found_calls(stage, await stage.key_of(TEA), 1)
    assert call["accountId"] == TEA
    stage.coffee.faults = stage.coffee.faults.model_copy(update={"latency_seconds": 0.0})


async def test_a_user_with_one_extension_is_served_beside_a_whole_company(busy_stage: Stage) -> None:
    stage = busy_stage
    await stage.sign_in(f"{COFFEE}*102")
    await subscribed(stage, TEA, COFFEE)
    stage.tea.start_call("inbound_direct", SHORT)
    mine = stage.coffee.start_call(
        "inbound_direct", CallOptions(agent="102", talk_seconds=10.0, ring_seconds=5.0)
    )
    (call,) = await found_calls(stage, await stage.key_of(COFFEE), 1)
    assert call["telephonySessionId"] == mine.sessions[0].telephony_session_id
    await found_calls(stage, await stage.key_of(TEA), 1)
    refused = [one for one in stage.coffee.requests if one["status"] == 403]
    assert len(refused) <= 2, "what a user may not is not asked again and again"
