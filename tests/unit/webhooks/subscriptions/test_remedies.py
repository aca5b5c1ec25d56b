"""The advice to operators about a refused subscription."""

import pytest

from app.webhooks.subscriptions.remedies import ADVICE, advise


def test_a_known_code_is_followed_by_what_to_do() -> None:
    said = advise("SUB-525", "RingCentral answered 400: SUB-525")
    assert said.startswith("RingCentral answered 400: SUB-525. ")
    assert "1024 bytes" in said


@pytest.mark.parametrize("code", ["CMN-999", None])
def test_an_unknown_code_leaves_ringcentrals_words(code: str | None) -> None:
    assert advise(code, "RingCentral answered 400") == "RingCentral answered 400"


def test_each_piece_of_advice_is_a_sentence() -> None:
    assert ADVICE
    assert all(text.endswith(".") and text[0].isupper() for text in ADVICE.values())
