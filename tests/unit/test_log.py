from app.log import mask


def test_phone_numbers_and_secrets_are_masked() -> None:
    line = mask(
        None,
        "info",
        {
            "event": "x",
            "why": "no route to +15550179001 or 5550179001",
            "token": "abc",
            "header": "Bearer abc.def",
        },
    )
    assert line["why"] == "no route to +155•••01 or 5550•••01"
    assert line["token"] == "***"
    assert line["header"] == "Bearer ***"


def test_times_and_ids_stay_readable() -> None:
    line = mask(
        None, "info", {"event": "x", "expires": "2026-03-10T18:07:41.085Z", "note": "session 1229016182016"}
    )
    assert line["expires"] == "2026-03-10T18:07:41.085Z"
    assert line["note"] == "session 1229016182016"
