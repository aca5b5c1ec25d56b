"""What one poll of Active Calls means: which calls it found and missed, and what that teaches. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.calls.evidence.matching import Matching, finished_records, match_records
from app.calls.store import Recent
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.visibility import Observation, missed_observation
from app.enrichment.records.call_names import keys_of_call
from app.errors import AccessReason, CredentialsRefused, RingCentralError
from app.ids import AccountId
from app.ringcentral.models import CallRecord


@dataclass(frozen=True, slots=True)
class PollResponse:
    """The pages of one poll. `complete`: all pages were read, so a call that they lack is not visible yet.

    `pages` is how many requests it took, or would have taken at least. `failure` is why there was no further
    page; the pages before it are valid.
    """

    sent_at: datetime
    answered_at: datetime
    records: Sequence[CallRecord]
    complete: bool
    pages: int
    account_id: AccountId | None
    failure: RingCentralError | None = None


@dataclass(frozen=True, slots=True)
class PollResult:
    """What a poll showed. `found` has the records to apply by call id, `unknown` those of calls that no event
    announced by `telephonySessionId`, `missed` the ids of waiting calls that it did not show."""

    found: Mapping[str, Sequence[CallRecord]]
    unknown: Mapping[str, Sequence[CallRecord]]
    missed: Sequence[str]
    observations: Sequence[Observation]


def read_response(response: PollResponse, recent: Sequence[Recent], limits: PlannerLimits) -> PollResult:
    """Decide what a poll means for the calls whose window is open."""
    matching = match_recent(response.records, recent)
    found = decided_calls(matching, recent, response.sent_at, limits)
    waiting = {call.call_id: call for call in recent if call.is_waiting}
    growing = {call.call_id for call in recent if _may_grow(call, response.sent_at, limits)}
    missed = [call_id for call_id in waiting if call_id not in found] if response.complete else []
    seen = [_seen(waiting[call_id], response) for call_id in found if call_id in waiting]
    unseen = [_unseen(waiting[call_id], response, limits) for call_id in missed]
    return PollResult(
        found={call_id: found[call_id] for call_id in found if call_id in waiting or call_id in growing},
        unknown=_ended_unknown_calls(matching),
        missed=missed,
        observations=[one for one in (*seen, *unseen) if one is not None],
    )


def match_recent(records: Sequence[CallRecord], recent: Sequence[Recent]) -> Matching:
    """Sort records by the calls whose window is open."""
    return match_records(records, [keys_of_call(call) for call in recent])


def decided_calls(
    matching: Matching, recent: Sequence[Recent], now: datetime, limits: PlannerLimits
) -> dict[str, list[CallRecord]]:
    """Return the finished records, by call id, of the calls whose records show how they went.

    A queue call has a record for each member whose phone rang. Those of members who did not take it are
    finished when another member answers, while the record of the one who did is finished seconds after the
    hang-up: until then, "Missed" would be half the truth. A record that stays In Progress for longer than
    Active Calls usually lags behind does not hold back the others.
    """
    patience = timedelta(seconds=2 * limits.lag_max_seconds)
    waiting = {call.call_id for call in recent if call.is_waiting and now - call.ended_at <= patience}
    finished = {call_id: (records, finished_records(records)) for call_id, records in matching.found.items()}
    return {
        call_id: done
        for call_id, (records, done) in finished.items()
        if done and (len(done) == len(records) or call_id not in waiting)
    }


def wrong_account(response: PollResponse, account_id: AccountId) -> CredentialsRefused | None:
    """Return an error if the credentials belong to another account than the one whose events arrive."""
    if response.account_id in (None, account_id):
        return None
    return CredentialsRefused(
        f"they belong to account {response.account_id}, but the events come from account {account_id}",
        code=AccessReason.WRONG_ACCOUNT,
    )


def _may_grow(call: Recent, now: datetime, limits: PlannerLimits) -> bool:
    """Whether further records of a call just found may still appear: one per extension, not all at once."""
    grace = timedelta(seconds=limits.lag_max_seconds)
    return call.bootstrapped_at is not None and now - call.bootstrapped_at < grace


def _ended_unknown_calls(matching: Matching) -> dict[str, list[CallRecord]]:
    """Return the ended calls that no event has announced, as far as matching knows."""
    return {
        key: records
        for key, records in matching.unknown.items()
        if len(finished_records(records)) == len(records)
    }


def _seen(call: Recent, response: PollResponse) -> Observation:
    unseen = _missed_age(call) or 0.0
    seen = (response.answered_at - call.ended_at).total_seconds()
    return Observation(max(0.0, unseen), max(0.0, seen))


def _unseen(call: Recent, response: PollResponse, limits: PlannerLimits) -> Observation | None:
    age = (response.sent_at - call.ended_at).total_seconds()
    return missed_observation(age, _missed_age(call), limits.last_poll_seconds)


def _missed_age(call: Recent) -> float | None:
    """Return the call's age at the last complete poll that did not show it."""
    return None if call.last_missed_at is None else (call.last_missed_at - call.ended_at).total_seconds()
