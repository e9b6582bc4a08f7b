"""How an application says where the service is and what holds when it is away: seven environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast
from urllib.parse import urlsplit

from otel_finops.base.errors import BadInput

URL: Final = "OTEL_FINOPS_URL"
TOKEN: Final = "OTEL_FINOPS_TOKEN"  # noqa: S105 - the variable's name
FAIL: Final = "OTEL_FINOPS_FAIL"
TIMEOUT: Final = "OTEL_FINOPS_TIMEOUT"
PAUSE: Final = "OTEL_FINOPS_PAUSE"
INSIST: Final = "OTEL_FINOPS_INSIST"
BAGGAGE: Final = "OTEL_FINOPS_BAGGAGE"

TIMEOUT_MAX_S: Final = 30.0
"""Nobody waits longer for a permission; a mistyped unit (milliseconds) is refused instead of hanging an application."""
PAUSE_MAX_S: Final = 300.0
"""After five minutes without asking, a budget's state is of no use any more."""


@dataclass(frozen=True)
class ClientSettings:
    """What the client is told; the same for every part of it.

    Attributes:
        url: base URL of the service, without `/api/v1`; empty: the client is off, everything is allowed and nothing is asked.
        token: sent as bearer token; None where the service asks for none.
        fail: what holds when the service is away: `open` lets calls through, `closed` blocks them.
        timeout_s: longest time one question may take, seconds, name look-up and connecting included.
        pause_s: for so long after a failure the service is taken for away without asking again, seconds.
        insist: stop calls also under instrumentations that swallow exceptions, by `faults.CallStopped`, which is no `Exception`.
    """

    url: str = ""
    token: str | None = field(default=None, repr=False)
    fail: Literal["open", "closed"] = "open"
    timeout_s: float = 1.5
    """Longer than the service itself waits for its database (1 s), so that its word on an absent one still counts."""
    pause_s: float = 1.0
    insist: bool = False

    def __post_init__(self) -> None:
        faults = [
            *_url_faults(self.url),
            *_choice_faults(self.fail),
            *_number_faults(self.timeout_s, self.pause_s),
            *_token_faults(self.token),
        ]
        if faults:
            raise BadInput("The client's settings are wrong: " + "; ".join(faults) + ".")

    @property
    def on(self) -> bool:
        """Whether there is a service to ask."""
        return bool(self.url)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> ClientSettings:
        """Read `OTEL_FINOPS_URL`, `_TOKEN`, `_FAIL`, `_TIMEOUT`, `_PAUSE`, `_INSIST` and `_BAGGAGE`; an empty variable is as good as none.

        Raises:
            BadInput: naming every variable that is wrong, and how to mend it.
        """
        said = {
            name: text.strip() for name, text in (os.environ if environ is None else environ).items() if name in _NAMES and text.strip()
        }
        _switch(BAGGAGE, said.get(BAGGAGE, "true"))  # asked for at every span, by `baggage_is_believed`
        return cls(
            url=said.get(URL, ""),
            token=said.get(TOKEN),
            fail=cast(Literal["open", "closed"], said.get(FAIL, "open").lower()),
            timeout_s=_seconds(said.get(TIMEOUT), cls.timeout_s),
            pause_s=_seconds(said.get(PAUSE), cls.pause_s),
            insist=_switch(INSIST, said.get(INSIST, "false")),
        )


_SWITCH_WORDS: Final = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NAMES: Final = (URL, TOKEN, FAIL, TIMEOUT, PAUSE, INSIST, BAGGAGE)


def _seconds(text: str | None, otherwise: float) -> float:
    """The number; what is none becomes NaN, which no range contains."""
    if text is None:
        return otherwise
    try:
        return float(text)
    except ValueError:
        return float("nan")


def baggage_is_believed() -> bool:
    """Whether the environment lets baggage say whose calls these are; a word that is none is taken for no."""
    return _SWITCH_WORDS.get(os.environ.get(BAGGAGE, "").strip().lower() or "true", False)


def _switch(name: str, text: str) -> bool:
    if text.lower() not in _SWITCH_WORDS:
        raise BadInput(f"The client's settings are wrong: {name} must be true or false, not {text[:40]!r}.")
    return _SWITCH_WORDS[text.lower()]


def _url_faults(url: str) -> list[str]:
    if not url:
        return []
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return [f"{URL} is no URL"]
    if not right:
        return [f"{URL} must be the service's base URL, such as http://127.0.0.1:8080"]
    if parts.username or parts.password:
        return [f"{URL} must not carry a user or password: give the token in {TOKEN}"]
    if parts.query or parts.fragment:
        return [f"{URL} must end with host, port or path"]
    return []


def _choice_faults(fail: str) -> list[str]:
    return [] if fail in ("open", "closed") else [f"{FAIL} must be open or closed, not {fail[:40]!r}"]


def _number_faults(timeout_s: float, pause_s: float) -> list[str]:
    faults = []
    if not 0.0 < timeout_s <= TIMEOUT_MAX_S:
        faults.append(f"{TIMEOUT} must be seconds above 0 and up to {TIMEOUT_MAX_S:g}, such as 1.5")
    if not 0.0 <= pause_s <= PAUSE_MAX_S:
        faults.append(f"{PAUSE} must be seconds from 0 to {PAUSE_MAX_S:g}, such as 1")
    return faults


def _token_faults(token: str | None) -> list[str]:
    if token is None or (token.isascii() and token.isprintable() and " " not in token):
        return []
    return [f"{TOKEN} must be one word of printable ASCII characters"]
