"""The derivation of a call from all statements about it: one pure function, one rule for each field."""

from app.calls.derivation.derive import DerivedCall, derive_call

__all__ = ["DerivedCall", "derive_call"]
