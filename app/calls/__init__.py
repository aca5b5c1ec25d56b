"""Calls as the CRM sees them: the call, its attachments, its timeline, and the API for them.

Nothing here knows how RingCentral is queried. `model` is the row, `ledger` the way to change it, `store` the
way to find it, `attachments` what people and CRMs add, `feed` the changes, `listing` the lists, `router` the
API.
"""
