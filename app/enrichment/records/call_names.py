"""The names of calls: by which keys records find them, and which names records add."""

from collections.abc import Iterable, Mapping, Sequence

from app.calls import store
from app.calls.evidence.matching import CallKeys
from app.calls.ledger import Ledger
from app.calls.model import NO_SESSION, Call
from app.ids import is_alias
from app.ringcentral.models import CallRecord


def keys_of_call(call: Call | store.Recent | store.DueCall, region: str | None = None) -> CallKeys:
    """Return the keys by which a call's records are recognised.

    `region`: of the account, for a whole call; the others bring it.
    """
    numbers = store.numbers_of(call.caller, call.callee) if isinstance(call, Call) else call.numbers
    return CallKeys(
        call_id=call.call_id,
        telephony_session_id=None if _is_nameless(call) else call.telephony_session_id,
        session_id=call.session_id,
        numbers=numbers,
        region=region if isinstance(call, Call) else call.region,
        started_at=call.started_at,
    )


async def find_taken_keys(
    ledger: Ledger, calls: Mapping[str, Call], found: Mapping[str, Sequence[CallRecord]]
) -> set[str]:
    """Return which keys that records give for calls without one already belong to other calls."""
    keys = {
        key for call_id, records in found.items() if _is_nameless(calls[call_id]) for key in _keys_of(records)
    }
    return set(await store.load_by_sessions(ledger.db, ledger.account_id, keys))


def _is_nameless(call: Call | store.Recent | store.DueCall) -> bool:
    return call.telephony_session_id.startswith(NO_SESSION)


def _keys_of(records: Iterable[CallRecord]) -> set[str]:
    return {str(record.telephony_session_id) for record in records if record.telephony_session_id is not None}


def name_call(
    ledger: Ledger,
    call: Call,
    current: Iterable[CallRecord],
    records: Iterable[CallRecord],
    taken: set[str],
) -> dict[str, Call]:
    """Give the call the names that its `current` records have; return them for what is parked under them.

    `taken` has the keys of other calls and gets the new one: a key names one call, and a second call that
    claims it remains known by its `sessionId`.
    """
    # The "0" of conferences names no call.
    session_ids = dict.fromkeys(one.session_id for one in current if is_alias(one.session_id))
    names = [str(session_id) for session_id in session_ids]
    if call.session_id is None and names:
        call.session_id = names[0]
        ledger.keep(call)
    keys = _keys_of(records)
    if _is_nameless(call) and len(keys) == 1 and not keys & taken:
        taken |= keys
        (call.telephony_session_id,) = keys
        ledger.keep(call)
    ledger.name(call, names)
    return dict.fromkeys([*names, call.telephony_session_id], call)
