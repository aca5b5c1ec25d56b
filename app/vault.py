"""Encrypts what must not be readable in the database, and signs what comes back from a browser."""

import hashlib
import hmac
from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet


class Vault:
    """Keys derived from AFTERCALL_SECRET_KEY, one for each use."""

    def __init__(self, secret_key: str) -> None:
        self._secret = secret_key.encode()
        self._fernet = Fernet(urlsafe_b64encode(self.key_for("encryption")))

    def key_for(self, use: str) -> bytes:
        """Return 32 bytes that only this use shares."""
        return hmac.digest(self._secret, b"aftercall:" + use.encode(), hashlib.sha256)

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt and authenticate."""
        return self._fernet.encrypt(plain)

    def decrypt(self, encrypted: bytes) -> bytes:
        """Raises cryptography.fernet.InvalidToken for what another key has encrypted."""
        return self._fernet.decrypt(encrypted)
