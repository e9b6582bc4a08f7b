"""What keeps foreign web pages out while `auth.mode` is off (docs/security.md).

A page of any site can have its visitor's browser send requests to this machine, and by pointing its own name at 127.0.0.1 it
can even read the answers. Such requests give themselves away: they name the page's host, as `Host` or as `Origin`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d{1,5})?")
_ORIGIN: Final = re.compile(r"https?://(?P<host>[^/?#@]+)")


def is_local(host: str, names: Collection[str] = ()) -> bool:
    """Whether a `Host` value, port or not, is a loopback address, `localhost`, or one of `names` (in lower case)."""
    found = _HOST.fullmatch(host.strip())
    if found is None:
        return False
    name = (found["v6"] or found["name"]).lower()
    return name == "localhost" or name in names or _is_loopback(name)


def is_local_origin(origin: str, names: Collection[str] = ()) -> bool:
    """Whether an `Origin` value is a page of this machine; `null` is none."""
    found = _ORIGIN.fullmatch(origin.strip())
    return found is not None and is_local(found["host"], names)


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
