"""What a read of the directory changes."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.accounts.directory.comparing import KnownExtension, Source, compare
from app.ids import ExtensionId
from app.ringcentral.models.directory import DirectoryEntry, DirectoryNumber, read_directory_entry

NOW = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
EARLIER = datetime(2026, 3, 9, 18, 0, tzinfo=UTC)
DIRECT = DirectoryNumber(phone_number="+15550100101", usage_type="DirectNumber")
MOBILE = DirectoryNumber(phone_number="+15550166007", usage_type="MobileNumber")


def entry(extension_id: str = "101", **fields: Any) -> DirectoryEntry:
    return DirectoryEntry(id=ExtensionId(extension_id), **({"name": "Ana Ruiz", "type": "User"} | fields))


def number(raw: str, usage: str) -> dict[str, str]:
    return {"phoneNumber": raw, "usageType": usage}


ANA = KnownExtension("101", name="Ana Ruiz", kind="User")


def test_what_is_new_is_stored() -> None:
    assert compare([], [entry(phone_numbers=(DIRECT,))], Source.DIRECTORY, NOW) == [
        replace(ANA, phone_numbers=(number("+15550100101", "DirectNumber"),))
    ]


def test_what_has_not_changed_is_left_alone() -> None:
    assert compare([ANA], [entry()], Source.DIRECTORY, NOW) == []


def test_who_is_not_listed_has_left_once() -> None:
    assert compare([ANA], [], Source.DIRECTORY, NOW) == [replace(ANA, left_at=NOW)]
    assert compare([replace(ANA, left_at=EARLIER)], [], Source.DIRECTORY, NOW) == []


def test_who_is_listed_again_is_back() -> None:
    assert compare([replace(ANA, left_at=EARLIER)], [entry()], Source.DIRECTORY, NOW) == [ANA]


def test_a_name_that_is_no_longer_sent_stays() -> None:
    assert compare([ANA], [entry(name=None)], Source.DIRECTORY, NOW) == []


def test_of_two_entries_with_one_id_the_last_counts() -> None:
    found = compare([], [entry(name="Old"), entry()], Source.DIRECTORY, NOW)
    assert found == [ANA]


def test_the_list_of_extensions_takes_no_numbers_away() -> None:
    known = replace(ANA, phone_numbers=(number("+15550100101", "DirectNumber"),))
    (found,) = compare([known], [entry(phone_numbers=(MOBILE,))], Source.EXTENSIONS, NOW)
    assert found.phone_numbers == (
        number("+15550100101", "DirectNumber"),
        number("+15550166007", "MobileNumber"),
    )
    assert compare([found], [entry(phone_numbers=(MOBILE,))], Source.EXTENSIONS, NOW) == []
    (without,) = compare([found], [entry(phone_numbers=(MOBILE,))], Source.DIRECTORY, NOW)
    assert without.phone_numbers == (number("+15550166007", "MobileNumber"),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "name", "email", "phoneNumbers", "phoneNumber", "usageType", "contact"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(listed=st.lists(JSON, max_size=6), source=st.sampled_from(Source))
def test_reading_the_same_again_changes_nothing(listed: list[Any], source: Source) -> None:
    entries = [found for item in listed if (found := read_directory_entry(item)) is not None]
    stored = compare([], entries, source, NOW)
    assert compare(stored, entries, source, NOW) == []
