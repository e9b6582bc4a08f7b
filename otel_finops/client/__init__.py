"""What an application imports: it asks the service before a call is made, and tells it what calls came to.

    from otel_finops.client import CallBlocked, cost, record, trace_cost
    from otel_finops.client.guard import guard

The names below are looked up when they are first used, so that `opentelemetry-instrument` loads only what it needs. A guard and a block of
attribution have the names of their modules and are imported from there (`docs/client.md`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from otel_finops.client.costs import Cost, cost, cost_async, trace_cost, trace_cost_async
    from otel_finops.client.enforce import EnforcingProcessor, install
    from otel_finops.client.faults import CallBlocked, CallStopped
    from otel_finops.client.rates import Rates
    from otel_finops.client.recording import Recorded, record
    from otel_finops.client.service import Service
    from otel_finops.client.settings import ClientSettings
    from otel_finops.client.stream_meter import StreamCut, StreamMeter
    from otel_finops.client.usage import Usage

__all__ = [
    "CallBlocked",
    "CallStopped",
    "ClientSettings",
    "Cost",
    "EnforcingProcessor",
    "Rates",
    "Recorded",
    "Service",
    "StreamCut",
    "StreamMeter",
    "Usage",
    "cost",
    "cost_async",
    "install",
    "record",
    "trace_cost",
    "trace_cost_async",
]
_MODULES: Final = {
    "costs": ("Cost", "cost", "cost_async", "trace_cost", "trace_cost_async"),
    "enforce": ("EnforcingProcessor", "install"),
    "faults": ("CallBlocked", "CallStopped"),
    "rates": ("Rates",),
    "recording": ("Recorded", "record"),
    "service": ("Service",),
    "settings": ("ClientSettings",),
    "stream_meter": ("StreamCut", "StreamMeter"),
    "usage": ("Usage",),
}
_PLACES: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, from its module."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
