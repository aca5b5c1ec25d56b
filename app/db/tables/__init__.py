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
| removed_calls | how many calls of a day were removed, by what had become of them |
| call_aliases | another name of a call (`sessionId`); one name may belong to several calls |
| call_parties | who was in a call: leads from an extension or a number to calls |
| call_records | one call-log record of a call, raw and decoded |
| recordings | a recording as one call names it: whether it can be played yet, where it is stored |
| voicemails | a voicemail as one call names it: its transcript, its state, where it is stored |
| audio_links | an address at which a person or a CRM can open a recording or a voicemail |
| call_links | a related session that a call names; both calls show it |
| insights | RingCentral's insights of one recording, as they came; without a call while none is known |
| rc_cache | a response of RingCentral that readers may share for some seconds |
| notes, sentiments, dispositions, crm_links | what people and CRMs attached to calls |
| timeline | the outbox: every visible change, in gap-free order per account |
| poll_targets | whose active calls are polled, when, and by which replica now |
| rate_buckets | one rate-limit bucket of RingCentral's, shared by all replicas |
| sweeps | a range of time that is searched in the Call Log: a gap, a backfill, the regular one |
| work | due rows of other background work |
| legal_holds | a call that neither retention nor an erasure may remove |
| erasures | an order to erase a person, an extension or a call; its receipt once it is done |
| erased_calls, erased_names | a call that was erased, and the names that RingCentral may still use for it |
| erased_files | a file of the archive that an erasure has to delete |
| api_keys, key_requests | who may call us; what each key asked last |
| audit_entries | who changed a key, credentials, an endpoint, a link, an erasure or a hold, and when |
| idempotency_keys | which requests were already carried out |
| webhook_endpoints | an address that receives changes: what it wants, its secrets, its position |
| webhook_messages | a change that an endpoint has not confirmed yet |
| webhook_waits | a call that an endpoint receives once: whether it waits for parts, or was sent |
| webhook_attempts | one request to an endpoint and its outcome, without what was sent |
"""

from app.db.tables.accounts import (
    accounts,
    api_keys,
    audit_entries,
    credentials,
    idempotency_keys,
    key_requests,
    subscriptions,
)
from app.db.tables.attachments import crm_links, dispositions, notes, sentiments
from app.db.tables.background import poll_targets, rate_buckets, sweeps, work
from app.db.tables.base import metadata
from app.db.tables.calls import (
    call_aliases,
    call_links,
    call_parties,
    calls,
    deliveries,
    removed_calls,
    timeline,
)
from app.db.tables.directory import directories, extensions
from app.db.tables.privacy import erased_calls, erased_files, erased_names, erasures, legal_holds
from app.db.tables.push import webhook_attempts, webhook_endpoints, webhook_messages, webhook_waits
from app.db.tables.records import audio_links, call_records, insights, rc_cache, recordings, voicemails

__all__ = [
    "accounts",
    "api_keys",
    "audio_links",
    "audit_entries",
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
    "erased_calls",
    "erased_files",
    "erased_names",
    "erasures",
    "extensions",
    "idempotency_keys",
    "insights",
    "key_requests",
    "legal_holds",
    "metadata",
    "notes",
    "poll_targets",
    "rate_buckets",
    "rc_cache",
    "recordings",
    "removed_calls",
    "sentiments",
    "subscriptions",
    "sweeps",
    "timeline",
    "voicemails",
    "webhook_attempts",
    "webhook_endpoints",
    "webhook_messages",
    "webhook_waits",
    "work",
]
