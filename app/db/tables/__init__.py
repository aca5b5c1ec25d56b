"""The data model: all tables, by subject, under one metadata.

Every table has `account_id` in its primary key and in every unique key, so that an outgrown PostgreSQL can be
distributed by account without a new schema; a test checks this. Times are UTC.

| table | one row is |
| --- | --- |
| accounts | a RingCentral account: the lock under which its calls change, and its timeline counter |
| credentials | one user's way into the account, what it can access, and the shared token (encrypted) |
| directories | what is known of an account: main number, country, state of its directory |
| extensions | an extension of an account as its directory lists it: a person, a queue, a menu |
| subscriptions | a webhook subscription that we created or adopted |
| deliveries | one POST of RingCentral as it came, known by its `uuid`: the inbox |
| calls | a telephony session: what was folded from deliveries and what the sources said |
| call_aliases | another name of a call (`sessionId`); one name may belong to several calls |
| call_parties | who was in a call: leads from an extension or a number to calls |
| call_records | one call-log record of a call, raw and decoded |
| recordings | a recording as one call names it: whether it can be played yet, where it is stored |
| voicemails | a voicemail as one call names it: its transcript, its state, where it is stored |
| call_links | a related session that a call names; both calls show it |
| insights | RingCentral's insights of one recording, as they came; without a call while none is known |
| rc_cache | a response of RingCentral that readers may share for some seconds |
| notes, sentiments, dispositions, crm_links | what people and CRMs attached to calls |
| timeline | the outbox: every visible change, in gap-free order per account |
| poll_targets | whose active calls are polled, when, and by which replica now |
| rate_buckets | one rate-limit bucket of RingCentral's, shared by all replicas |
| sweeps | a range of time that is searched in the Call Log: a gap, a backfill, the regular one |
| work | due rows of other background work |
| api_keys, idempotency_keys | who may call us; which requests were already carried out |
"""

from app.db.tables.accounts import accounts, api_keys, credentials, idempotency_keys, subscriptions
from app.db.tables.attachments import crm_links, dispositions, notes, sentiments
from app.db.tables.background import poll_targets, rate_buckets, sweeps, work
from app.db.tables.base import metadata
from app.db.tables.calls import call_aliases, call_links, call_parties, calls, deliveries, timeline
from app.db.tables.directory import directories, extensions
from app.db.tables.records import call_records, insights, rc_cache, recordings, voicemails

__all__ = [
    "accounts",
    "api_keys",
    "call_aliases",
    "call_links",
    "call_parties",
    "call_records",
    "calls",
    "credentials",
    "crm_links",
    "deliveries",
    "directories",
    "dispositions",
    "extensions",
    "idempotency_keys",
    "insights",
    "metadata",
    "notes",
    "poll_targets",
    "rate_buckets",
    "rc_cache",
    "recordings",
    "sentiments",
    "subscriptions",
    "sweeps",
    "timeline",
    "voicemails",
    "work",
]
