"""What is secret of a channel: its address, what it is asked with, and the keys that sign."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

_SHORT: Final = 6
"""Shorter secrets are no secrets, and would be cut out of every other word."""
_PARTS: Final = re.compile(r"[\s/?&=,;:]+")
_TEMPLATE: Final = re.compile(r"\{to\}|\{text\}")


class SigningKey(NamedTuple):
    """A webhook's key; `until_ns`: a former one, which signs until then, nanoseconds; None: the one that holds."""

    key: str
    until_ns: int | None = None


class Secrets(NamedTuple):
    """What is secret of a channel.

    Attributes:
        url: where it leads; "" for mail.
        headers: that are sent along, by name.
        username, password: for HTTP's basic authentication; "" for none.
        fields: of an SMS provider's request, by name; `{to}` and `{text}` stand for the number and the text.
        keys: of webhooks, the newest first.
    """

    url: str = ""
    headers: Mapping[str, str] = {}
    username: str = ""
    password: str = ""
    fields: Mapping[str, str] = {}
    keys: tuple[SigningKey, ...] = ()

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Secrets:
        """What was stored by `packed`."""
        return cls(**{**stored, "keys": tuple(SigningKey(*key) for key in stored.get("keys", ()))})

    def packed(self) -> Mapping[str, Any]:
        """As it is stored."""
        return {**self._asdict(), "keys": [list(key) for key in self.keys]}

    def signing(self, now_ns: int) -> list[str]:
        """The keys that sign now."""
        return [one.key for one in self.keys if one.until_ns is None or one.until_ns > now_ns]

    @property
    def authorization(self) -> str:
        """The header of basic authentication; "" without a user."""
        return f"Basic {base64.b64encode(f'{self.username}:{self.password}'.encode()).decode()}" if self.username else ""

    def hidden_in(self, text: str) -> str:
        """A text without these secrets, should it repeat any."""
        for one in sorted(set(self._all()), key=len, reverse=True):
            text = text.replace(one, "(secret)")
        return text

    def _all(self) -> Iterator[str]:
        """Whole, and in the parts that a receiver may repeat by themselves: the token after `Bearer`, the parts of a path."""
        path = self.url.partition("://")[2].partition("/")[2]
        fields = (part for value in self.fields.values() for part in _TEMPLATE.split(value))
        said = (*self.headers.values(), *fields)
        whole = (self.url, path, self.username, self.password, self.authorization.removeprefix("Basic "), *(one.key for one in self.keys))
        parts = (part for value in (path, *said) for part in _PARTS.split(value))
        yield from (one for one in (*whole, *said, *parts) if len(one) >= _SHORT)
