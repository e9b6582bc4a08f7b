"""Signed statements about what is stored, to be kept where the database's owner cannot change them.

A statement is a JSON object; its signature is Ed25519 (RFC 8032) over the object without `signature`, keys sorted, no blanks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key
from pydantic import BaseModel, ValidationError

from otel_finops.base.errors import BadInput

Shape = TypeVar("Shape", bound=BaseModel)


def load_key(path: Path) -> Ed25519PrivateKey:
    """The signing key; made on first use in a file that only this user can read (mode 0600, PKCS 8 in PEM).

    Raises:
        BadInput: the file holds no Ed25519 key, or cannot be read or written.
    """
    try:
        if not path.exists():
            _make_key(path)
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"the signing key {path.name!r} cannot be used: it must be an Ed25519 key in PEM that this user can read") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(f"the signing key {path.name!r} is no Ed25519 key")
    return key


def signed(statement: Mapping[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """The statement with `public_key` and `signature`, both hex."""
    whole = {**statement, "public_key": public_hex(key)}
    return {**whole, "signature": key.sign(_signed_bytes(whole)).hex()}


def public_hex(key: Ed25519PrivateKey) -> str:
    """The public half of a key, hex: what signatures are checked by."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def parsed(text: str, made_by: str) -> dict[str, Any]:
    """A statement that somebody hands in as text.

    Raises:
        BadInput: it is no JSON object; the message names the command that prints one.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput(f"head: give the JSON object that `{made_by}` printed")
    return found


def check_signature(statement: Mapping[str, Any], form: str, public_key: str | None = None) -> None:
    """See that a statement is of a format and unchanged since it was signed.

    Args:
        form: what its `format` must be.
        public_key: hex of the key that must have signed it; without it the statement's own key is believed, which only shows that it
            was not changed by somebody without the key.

    Raises:
        BadInput: it is not, or was signed by another key.
    """
    try:
        if statement["format"] != form or (public_key is not None and statement["public_key"] != public_key.strip().lower()):
            raise BadInput("the head was signed by another key, or is of another format")
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(statement["public_key"]))
        key.verify(bytes.fromhex(statement["signature"]), _signed_bytes(statement))
    except (KeyError, ValueError, TypeError, InvalidSignature) as error:
        raise BadInput("this is no signed head, or it was changed after it was signed") from error


def shaped(statement: Mapping[str, Any], shape: type[Shape]) -> Shape:
    """What a statement says, once its signature is checked: anybody can sign anything with a key of his own.

    Raises:
        BadInput: it does not say it in the form in which it is exported.
    """
    try:
        return shape.model_validate(statement)
    except ValidationError as error:
        raise BadInput("head: it is signed, but it is not of the form in which heads are exported") from error


def _signed_bytes(statement: Mapping[str, Any]) -> bytes:
    return orjson.dumps({name: value for name, value in statement.items() if name != "signature"}, option=orjson.OPT_SORT_KEYS)


def _make_key(path: Path) -> None:
    """Write a new key, never over an existing file and never readable by others, not even for a moment."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
