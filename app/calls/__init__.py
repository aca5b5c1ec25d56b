"""Calls as the CRM sees them: the record, what is attached to it, its timeline, the API over them.

Nothing here knows how RingCentral is asked. `model` is the row, `ledger` the way to change it, `store` the
way to find it, `attachments` what people and CRMs add, `router` the API.
"""
