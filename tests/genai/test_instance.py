"""The service instance, by what the resource names."""

from __future__ import annotations

from otel_finops.genai.instance import service_instance


def test_the_instances_own_id_is_best() -> None:
    resource = {"service.namespace": "shop", "service.name": "api", "service.instance.id": "i-1", "host.name": "h", "process.pid": 7}
    assert service_instance("default", resource) == "default|shop|api|i-1"


def test_host_and_process_stand_in_for_it() -> None:
    assert service_instance("default", {"service.name": "api", "host.name": "h", "process.pid": 7}) == "default||api|h|7"


def test_the_name_alone_is_left() -> None:
    assert service_instance("acme", {"service.name": "api", "host.name": "h"}) == "acme||api"
    assert service_instance("acme", {}) == "acme||"


def test_long_or_ambiguous_parts_are_hashed() -> None:
    long = service_instance("default", {"service.name": "x" * 300})
    assert long.startswith("sha256:")
    assert len(long) <= 96
    one = service_instance("default", {"service.namespace": "a|b", "service.name": "c"})
    other = service_instance("default", {"service.namespace": "a", "service.name": "b|c"})
    assert one != other
