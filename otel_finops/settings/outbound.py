"""The section `outbound`: which addresses that people gave may be asked."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from otel_finops.settings.section import Section


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        raise ValueError("not a network; write e.g. 10.20.0.0/16, fd00:20::/32, or one address") from None
    return text


Networks: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(max_length=1_000)]


class Outbound(Section):
    """Where webhooks and other addresses may lead that people give by the API and the command line (docs/alerting.md)."""

    networks: Networks = Field(
        default=(),
        description='Networks of one\'s own that may be reached, by https or http, although they are not public: `["10.20.0.0/16"]`; by '
        "people who see all tenants alone.",
    )
    refused_networks: Networks = Field(
        default=(), description="Public networks that are not to be reached all the same, e.g. one's own behind a firewall."
    )
    ports: tuple[Annotated[int, Field(ge=1, le=65_535)], ...] = Field(
        default=(443, 8443), max_length=100, description="Ports to which one may connect."
    )
    timeout: float = Field(default=10.0, ge=0.5, le=30, description="Seconds that one request may take, from the name to the answer.")
