"""Keys that encrypt, keys that can still decrypt, and seals for a single use."""

import pytest

from app.vault import InvalidToken, Vault

OLD, NEW = "o" * 32, "n" * 32


def test_encrypted_values_are_unreadable_and_can_be_decrypted() -> None:
    encrypted = Vault(OLD).encrypt(b"a refresh token")
    assert b"refresh" not in encrypted
    assert Vault(OLD).decrypt(encrypted) == b"a refresh token"


def test_a_key_that_is_no_longer_first_still_decrypts() -> None:
    assert Vault(f"{NEW}, {OLD}").decrypt(Vault(OLD).encrypt(b"kept")) == b"kept"


def test_the_first_key_encrypts() -> None:
    encrypted = Vault(f"{NEW},{OLD}").encrypt(b"kept")
    assert Vault(NEW).decrypt(encrypted) == b"kept"
    with pytest.raises(InvalidToken):
        Vault(OLD).decrypt(encrypted)


def test_renewed_values_do_not_need_the_old_key() -> None:
    both = Vault(f"{NEW},{OLD}")
    renewed = both.renewed(Vault(OLD).encrypt(b"kept"))
    assert renewed is not None
    assert Vault(NEW).decrypt(renewed) == b"kept"
    assert both.renewed(renewed) is None


def test_unknown_ciphertext_is_rejected_on_renewal() -> None:
    with pytest.raises(InvalidToken):
        Vault(NEW).renewed(Vault(OLD).encrypt(b"kept"))


def test_a_seal_opens_only_for_its_own_use() -> None:
    sealed = Vault(OLD).seal("state", b"nonce")
    assert Vault(f"{NEW},{OLD}").unseal("state", sealed) == b"nonce"
    for use, text in (("cookie", sealed), ("state", sealed[:-4] + "AAA="), ("state", ""), ("state", "käse")):
        with pytest.raises(InvalidToken):
            Vault(OLD).unseal(use, text)


def test_a_vault_without_a_key_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="key"):
        Vault(" , ")
