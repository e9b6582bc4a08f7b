"""Whose spans a credential may send: never a tenant that it does not cover."""

from __future__ import annotations

import pytest

from otel_finops.base.protocols import Credential


@pytest.mark.parametrize(
    ("tenants", "named", "tenant"),
    [
        (("acme",), None, "acme"),
        (("acme",), "globex", "acme"),
        (("acme", "globex"), "globex", "globex"),
        (("acme", "globex"), "initech", "default"),
        (("acme", "globex"), None, "default"),
        (("*",), "initech", "initech"),
        (("*",), None, "default"),
        (("*",), "*", "default"),  # it means all of them wherever else tenants are named
    ],
)
def test_the_tenant_of_a_span(tenants: tuple[str, ...], named: str | None, tenant: str) -> None:
    assert Credential("realm", tenants).tenant_for(named) == tenant
