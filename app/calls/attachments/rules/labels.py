"""Sentiment labels. No I/O."""

import re
from enum import StrEnum

_POSITIVE_ABOVE = 0.2
_NEGATIVE_BELOW = -0.2


class Label(StrEnum):
    """The labels that sentiments are compared and filtered by."""

    POSITIVE = "positive"
    NEUTRAL = "neutral"
    NEGATIVE = "negative"
    MIXED = "mixed"


_WORDS = {
    **{label.value: label for label in Label},
    "pos": Label.POSITIVE,
    "verypositive": Label.POSITIVE,
    "slightlypositive": Label.POSITIVE,
    "neg": Label.NEGATIVE,
    "verynegative": Label.NEGATIVE,
    "slightlynegative": Label.NEGATIVE,
}


def read_label(word: str | None, score: float | None) -> Label:
    """Return the label for a known word, otherwise for the score.

    Raises ValueError if the word is unknown and there is no score.
    """
    known = _WORDS.get(re.sub(r"[^a-z]", "", word.casefold())) if word else None
    if known is not None:
        return known
    if score is None:
        raise ValueError(f"Send a label of {', '.join(Label)}, or a score")
    if score > _POSITIVE_ABOVE:
        return Label.POSITIVE
    return Label.NEGATIVE if score < _NEGATIVE_BELOW else Label.NEUTRAL
