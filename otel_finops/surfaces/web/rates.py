"""How often one principal or one address may ask: token buckets, in bounded memory."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import TooManyRequests
from otel_finops.base.limits import RATE_KEYS_MAX

_IPV6_PREFIX: Final = 64
"""One household or machine has a whole /64 to choose addresses from."""


class _Bucket(NamedTuple):
    """Requests that may still be made at once, as of a moment."""

    left: float
    at_s: float


class Rates:
    """A bucket for each caller: it holds `burst` requests and fills up again by `rate_per_s`.

    Args:
        rate_per_s: requests a second; more than 0.
        burst: requests at once after a pause.
        keys_max: callers that are remembered; those that asked longest ago are forgotten first, which can only make them freer.
    """

    def __init__(self, rate_per_s: float, burst: int, clock: Clock, *, keys_max: int = RATE_KEYS_MAX) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._clock = clock
        self._keys_max = keys_max
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: str) -> None:
        """Count a request of this caller.

        Raises:
            TooManyRequests: the bucket is empty; a request that is refused takes nothing out of it.
        """
        with self._lock:
            now_s = self._clock.monotonic()
            before = self._buckets.pop(caller, _Bucket(self._burst, now_s))
            left = min(self._burst, before.left + (now_s - before.at_s) * self._rate_per_s)
            self._buckets[caller] = _Bucket(left - 1 if left >= 1 else left, now_s)
            if len(self._buckets) > self._keys_max:
                self._buckets.popitem(last=False)
        if left < 1:
            raise TooManyRequests(
                f"More than {self._rate_per_s:g} requests a second (http.rate_per_s, http.burst): ask less often, or for more at once "
                "(`limit`).",
                retry_after_s=(1 - left) / self._rate_per_s,
            )


def address_key(host: str) -> str:
    """What stands for a client's address: itself, or its network where one caller has a whole network of them."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"at {host[:64]}"
    if address.version == 6:
        return f"at {ipaddress.ip_network((int(address), _IPV6_PREFIX), strict=False)}"
    return f"at {address}"
