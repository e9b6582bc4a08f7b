"""Tokens become credentials and principals; roles are a declared matrix."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from otel_finops.base.errors import Unauthenticated
from otel_finops.base.protocols import Credential
from otel_finops.identity.principals import LOCAL, Principals
from otel_finops.identity.roles import PERMISSIONS, ROLES
from otel_finops.identity.senders import Senders
from otel_finops.settings import Settings, load


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def settings(mode: str = "token", **lists: object) -> Settings:
    return load(None, {"OTEL_FINOPS_AUTH__MODE": mode, **{f"OTEL_FINOPS_AUTH__{name.upper()}": json.dumps(v) for name, v in lists.items()}})


SENDERS = [
    {"token_sha256": digest("one"), "tenants": ["acme"]},
    {"token_sha256": digest("two"), "tenants": ["acme", "globex"]},
    {"token_sha256": digest("any"), "tenants": ["*"]},
]


@pytest.mark.parametrize(
    ("token", "credential"),
    [
        ("one", Credential("acme", ("acme",))),
        ("two", Credential("default", ("acme", "globex"))),
        ("any", Credential("default", ("*",))),
    ],
)
@pytest.mark.parametrize("mode", ["off", "token"])
def test_a_known_sender_is_bound_to_its_tenants(mode: str, token: str, credential: Credential) -> None:
    assert Senders(settings(mode, senders=SENDERS).auth)(token) == credential


@pytest.mark.parametrize("token", [None, "", "ONE", "one ", "' OR 1=1 --", "x" * 100_000, "\udcff"])
def test_unknown_senders_are_refused_when_tokens_are_required(token: str | None) -> None:
    auth = Senders(settings(senders=SENDERS).auth)
    with pytest.raises(Unauthenticated) as caught:
        auth(token)
    assert token is None or len(token) < 4 or token not in str(caught.value)


def test_without_authentication_anyone_may_send_for_any_tenant() -> None:
    assert Senders(settings("off").auth)(None) == Credential("default", ("*",))
    assert Senders(settings("off").auth)("whatever") == Credential("default", ("*",))


def test_readers_have_the_role_and_tenants_of_their_token() -> None:
    tokens = [
        {"token_sha256": digest("v"), "tenants": ["acme"], "role": "viewer", "name": "board"},
        {"token_sha256": digest("a"), "tenants": ["*"], "role": "admin"},
    ]
    principals = Principals(settings(tokens=tokens).auth)
    viewer, admin = principals("v"), principals("a")
    assert (viewer.who, viewer.tenants, viewer.may("view"), viewer.may("manage")) == ("board", ("acme",), True, False)
    assert viewer.sees("acme")
    assert not viewer.sees("globex")
    assert (admin.who, admin.tenants, admin.may("admin"), admin.sees("globex")) == (f"token {digest('a')[:8]}", None, True, True)
    for stranger in (None, "", "x"):
        with pytest.raises(Unauthenticated):
            principals(stranger)


def test_a_senders_token_does_not_open_the_api() -> None:
    with pytest.raises(Unauthenticated):
        Principals(settings(senders=SENDERS).auth)("any")


def test_with_authentication_off_everyone_is_admin_of_all_tenants() -> None:
    assert Principals(settings("off").auth)(None) == LOCAL
    assert LOCAL.permissions == PERMISSIONS
    assert LOCAL.tenants is None


def test_the_matrix_of_roles() -> None:
    order = ("ingest", "view", "manage", "approve", "admin")
    assert {role: "".join("x" if p in may else "." for p in order) for role, may in ROLES.items()} == {
        "viewer": ".x...",
        "analyst": "xx...",
        "approver": ".x.x.",
        "manager": "xxxx.",
        "admin": "xxxxx",
    }
