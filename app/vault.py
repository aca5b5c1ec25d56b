"""Encrypts what must not be readable in the database, and seals what must come back from a browser unchanged.

AFTERCALL_SECRET_KEY holds one key, or several separated by commas: the first encrypts and signs, all of them
decrypt. To exchange a key, put the new one first, re-encrypt everything (`aftercall keys rotate-secrets`) and
remove the old one.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

__all__ = ["InvalidToken", "Vault", "split_keys"]

_AT_REST = "encryption"


def split_keys(secret_key: str) -> list[str]:
    """Return the keys in the setting, the one that encrypts first."""
    return [part for part in (part.strip() for part in secret_key.split(",")) if part]


class Vault:
    """Keys derived from AFTERCALL_SECRET_KEY, one for each use.

    Raises ValueError if there is no key.
    """

    def __init__(self, secret_key: str) -> None:
        self._secrets = [key.encode() for key in split_keys(secret_key)]
        if not self._secrets:
            raise ValueError("a vault needs a key")
        self._fernet = self._fernet_for(_AT_REST)

    def key_for(self, use: str) -> bytes:
        """Return 32 bytes for this use only."""
        return _derive(self._secrets[0], use)

    def keys_for(self, use: str) -> list[bytes]:
        """Return the keys for this use of all secret keys, as `key_for` does; the current one first."""
        return [_derive(secret, use) for secret in self._secrets]

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt and authenticate, with the first key."""
        return self._fernet.encrypt(plain)

    def decrypt(self, encrypted: bytes) -> bytes:
        """Raises InvalidToken for what none of the keys has encrypted."""
        return self._fernet.decrypt(encrypted)

    def renewed(self, encrypted: bytes) -> bytes | None:
        """Return it encrypted with the first key; None if it already is. Raises InvalidToken as `decrypt`
        does.
        """
        try:
            Fernet(_fernet_key(self._secrets[0], _AT_REST)).decrypt(encrypted)
        except InvalidToken:
            return self._fernet.rotate(encrypted)
        return None

    def seal(self, use: str, plain: bytes) -> str:
        """Return text that fits into a cookie or an address, and that nobody else can read or forge."""
        return self._fernet_for(f"seal:{use}").encrypt(plain).decode()

    def unseal(self, use: str, sealed: str) -> bytes:
        """Return what was sealed for the same use. Raises InvalidToken for anything else."""
        return self._fernet_for(f"seal:{use}").decrypt(sealed.encode("ascii", "replace"))

    def _fernet_for(self, use: str) -> MultiFernet:
        return MultiFernet(_fernets(self._secrets, use))


def _fernets(secrets: Sequence[bytes], use: str) -> list[Fernet]:
    return [Fernet(_fernet_key(secret, use)) for secret in secrets]


def _fernet_key(secret: bytes, use: str) -> bytes:
    return urlsafe_b64encode(_derive(secret, use))


def _derive(secret: bytes, use: str) -> bytes:
    return hmac.digest(secret, b"aftercall:" + use.encode(), hashlib.sha256)
