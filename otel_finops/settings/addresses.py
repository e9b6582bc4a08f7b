"""Listen addresses: `host:port`, with IPv6 hosts in brackets."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final, NamedTuple

_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>\d{1,5})")


class Address(NamedTuple):
    """Where a listener binds.

    Attributes:
        host: a name or an IP address without brackets; "" for all interfaces.
        port: 0 lets the system choose.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Nobody but this machine can connect: a loopback address or `localhost`; other names count as reachable."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `127.0.0.1:4317`, `localhost:4317`, `[::1]:4317` or `:4317` (all interfaces).

    Raises:
        ValueError: the text is no such address; the message says how to write one.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:
        raise ValueError("not an address; write host:port, e.g. 127.0.0.1:4317 or [::1]:4317, or nothing to switch the listener off")
    if match["v6"]:
        ip_address(match["v6"])
    return Address(match["v6"] or match["host"], int(match["port"]))
