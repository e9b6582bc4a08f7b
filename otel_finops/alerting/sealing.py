"""Secrets of channels as they are stored: encrypted by a key that does not stand in the database (Fernet: AES-128-CBC and HMAC-SHA-256)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from otel_finops.base.errors import BadInput

_SQLITE: Final = "sqlite:///"
_MEND: Final = "give it back (channels.secret_keys, or the key file), or set the channel's address and secrets anew"


class Sealer:
    """Encrypts and decrypts. Safe to use from many threads and processes.

    Args:
        keys: of the settings: the first encrypts, all decrypt.
        file: where a key stands, or is put when something is sealed for the first time, if there are none of the settings; None: nowhere.
    """

    def __init__(self, keys: Sequence[str], file: Path | None) -> None:
        self._keys = tuple(keys)
        self._file = file

    def seal(self, channel_no: int, what: Mapping[str, Any]) -> str:
        """What is to be stored of a channel.

        Raises:
            BadInput: there is no key, or none can be made.
        """
        return self._fernet(make=True).encrypt(orjson.dumps({"channel": channel_no, "what": what})).decode()

    def unseal(self, channel_no: int, sealed: str) -> Mapping[str, Any]:
        """What was sealed for this channel.

        Raises:
            BadInput: there is no such key any more, or it is another channel's.
        """
        try:
            found = orjson.loads(self._fernet(make=False).decrypt(sealed))
        except InvalidToken:
            raise BadInput(f"the secrets of channel {channel_no} were encrypted by a key that is not there: {_MEND}") from None
        if found["channel"] != channel_no:
            raise BadInput(f"the secrets that are stored of channel {channel_no} are another channel's: set its address and secrets anew")
        return found["what"]  # type: ignore[no-any-return]

    def _fernet(self, *, make: bool) -> MultiFernet:
        keys = self._keys or (_key_in(self._file, make=make),)
        return MultiFernet([Fernet(key) for key in keys])


def key_file(database_url: str) -> Path | None:
    """Where the key of a SQLite database stands when the settings have none; None for other databases."""
    if not database_url.startswith(_SQLITE):
        return None
    return Path(database_url.removeprefix(_SQLITE).partition("?")[0] + ".key")


def _key_in(file: Path | None, *, make: bool) -> str:
    if file is None:
        raise BadInput("no key encrypts what is secret of channels: set channels.secret_keys (`openssl rand -base64 32 | tr +/ -_`)")
    try:
        if make and not file.exists():
            _make(file)
        key = file.read_text().strip()
        Fernet(key)
    except (OSError, ValueError) as fault:
        raise BadInput(f"the key file {file.name!r}, by which secrets of channels are encrypted, cannot be used: {_MEND}") from fault
    return key


def _make(file: Path) -> None:
    """Put a new key there, whole and readable by this user alone from the first moment on; one that somebody else just put there stays."""
    draft = file.with_name(f"{file.name}.{token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(Fernet.generate_key())
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(draft, file)
    except FileExistsError:
        return
    finally:
        draft.unlink()
