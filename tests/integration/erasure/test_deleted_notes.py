"""A deleted note is gone everywhere at once: no column of any table has a word of it."""

import httpx
import pytest

from app.db.engine import Database
from tests.factories_calls import seed_call
from tests.integration.erasure.marking import find_marked

TEXT = "Her number is +1 555 017 9001"


@pytest.mark.parametrize("is_parked", [False, True])
async def test_its_text_is_in_no_table(
    database: Database, client: httpx.AsyncClient, *, is_parked: bool
) -> None:
    call = await seed_call(database, external_number=None, caller=None)
    path = f"/v1/calls/{'1229016999999' if is_parked else call.call_id}/notes"
    key = {"Idempotency-Key": "once"}
    note = {"text": TEXT, "title": TEXT, "author": {"name": TEXT}, "source": "hubspot", "externalId": "7"}
    created = await client.post(path, json=note, headers=key)
    assert created.status_code in (201, 202)
    changed = await client.patch(f"{path}/{created.json()['id']}", json={"text": f"{TEXT}, or by mail"})
    assert changed.status_code == 200
    assert set(await find_marked(database)) == {"notes", "idempotency_keys"}
    assert (await client.delete(f"{path}/{created.json()['id']}")).status_code == 204
    assert await find_marked(database) == {}
