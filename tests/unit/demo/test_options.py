from app.demo.options import Options, name_database


def test_a_refusal_names_the_database_as_the_user_gave_it() -> None:
    refusal = "postgresql://db/x: no server. Check that AFTERCALL_DATABASE_URL is right."

    given = name_database(refusal, Options(database_url="postgresql://db/x"))
    assert given == "postgresql://db/x: no server. Check that --database-url is right."
    assert "AFTERCALL" not in name_database(refusal, Options())
