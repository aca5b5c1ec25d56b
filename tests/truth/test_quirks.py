"""The truth of a call does not depend on the form in which RingCentral writes its events and records."""

import pytest

from app.simulator.quirks import Quirks
from app.simulator.scripting.catalogue import SCRIPTS
from tests.truth.conformance import DIRECTORY, compare, derive, facts_of, tellings
from tests.truth.expected import NOT_CALLS, truths_of
from tests.truth.witnesses import play_script, presence_notifications

AS_SENT = frozenset({"caller", "called"})
"""Sides keep the spelling in which a number was sent, beside its normal form."""


@pytest.mark.parametrize("script", sorted(set(SCRIPTS) - NOT_CALLS))
@pytest.mark.parametrize(
    ("quirks", "unlike"),
    [
        (Quirks(numbers_without_plus=True), AS_SENT),
        (Quirks(names_cut_in_emoji=True), frozenset[str]()),
        (Quirks(missed_as_no_answer=True), frozenset[str]()),
        (Quirks(split_session_ids=True), frozenset[str]()),
    ],
    ids=["no-plus", "half-emojis", "no-answer", "two-session-ids"],
)
def test_each_witness_tells_the_truth_in_other_forms_too(
    script: str, quirks: Quirks, unlike: frozenset[str]
) -> None:
    for telling in tellings([play_script(script, quirks=quirks)]):
        compared, wrong = compare(telling, telling.derive())
        assert compared > 0
        assert [str(one) for one in wrong if one.field not in unlike] == []


@pytest.mark.parametrize(
    "script", ["inbound_direct", "inbound_missed", "queue_answered", "queue_abandoned", "find_me_missed"]
)
def test_presence_alone_tells_of_people_and_queue(script: str) -> None:
    quirks = Quirks(presence_queue_info=True, presence_without_end=True)
    played = play_script(script, quirks=quirks)
    (right,) = truths_of(played)
    call = derive(facts_of(presence_notifications(played)), (), DIRECTORY)
    assert (call.direction, call.internal, call.outcome) == (right.direction, right.internal, right.outcome)
    assert (call.external_number, call.queue_name) == (right.external_number, right.queue_name)
    assert [agent.extension_id for agent in call.agents] == [agent.extension_id for agent in right.agents]
