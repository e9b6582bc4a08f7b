"""Whatever was made, rotated, revoked and waited for, in any order: a token holds exactly as long as a plain model says, and nobody ever
has more by tokens than those who made them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from otel_finops.base.errors import BadInput, Forbidden, NotFound, Unauthenticated
from otel_finops.identity.entrance import entrance
from otel_finops.identity.live import LiveTokens
from otel_finops.identity.principals import LOCAL, Principal, Principals
from otel_finops.identity.roles import ROLES
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.local import make_context, open_room, upgrade_database
from otel_finops.operations.registry import invoke
from otel_finops.settings import load
from otel_finops.settings.tree import RoleName, Settings
from otel_finops.testing import FakeClock

DAY = 86_400
ROLE_NAMES: list[RoleName] = ["viewer", "analyst", "approver", "manager", "admin"]
TENANTS = st.sampled_from(["acme", "globex", "acme,globex", "*"])


def settings_of(file: Path) -> Settings:
    return load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{file}", "OTEL_FINOPS_AUTH__MODE": "token"})


@cache
def empty_ledger() -> bytes:
    """A ledger's file; it is copied, since making one takes longer than a history."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "ledger.db")
        upgrade_database(settings_of(file), FakeClock())
        return file.read_bytes()


class Model:
    """What a token is for, who made it, and until when it holds."""

    def __init__(self, maker: Principal, tenants: str, role: RoleName, ends: float) -> None:
        self.maker = maker
        self.tenants = None if tenants == "*" else tuple(tenants.split(","))
        self.role = role
        self.ends = ends
        self.rotated = False


class Histories(RuleBasedStateMachine):
    """One process changes tokens for principals of all kinds; another one only follows."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.clock = FakeClock()
        file = Path(self.folder.name, "ledger.db")
        file.write_bytes(empty_ledger())
        tree = settings_of(file)
        self.opened = open_room(tree, clock=self.clock)
        room = self.opened.__enter__()
        doors = entrance(tree, room.store, self.clock)
        self.context = make_context(tree, room.store, room.subjects, room.prices, self.clock, live=doors.live)
        self.here = doors.principals
        self.follower = LiveTokens(room.store, self.clock)
        self.there = Principals(tree.auth, self.follower)
        self.tokens: dict[str, Model] = {}
        self.numbers: dict[int, str] = {}

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.__exit__(None, None, None)
            self.folder.cleanup()

    def now(self) -> float:
        return self.clock.monotonic()

    def someone(self, data: st.DataObject) -> tuple[Principal, float]:
        """The machine's own, or the bearer of any token that holds and may change tokens; with until when he is that."""
        bearers = [(LOCAL, float("inf"))]
        bearers += [(self.here(secret), one.ends) for secret, one in self.tokens.items() if one.ends > self.now()]
        return data.draw(st.sampled_from([(bearer, ends) for bearer, ends in bearers if bearer.may("admin")]))

    def run(self, verb: str, principal: Principal, /, **given: Any) -> Any:
        one = OPERATIONS.named(f"tokens.{verb}")
        return invoke(one, self.context, principal, one.input.model_validate(given), origin="test")

    @rule(data=st.data(), tenants=TENANTS, role=st.sampled_from(ROLE_NAMES), days=st.sampled_from([None, 1, 3]))
    def create(self, data: st.DataObject, tenants: str, role: RoleName, days: int | None) -> None:
        maker, until = self.someone(data)
        ends = self.now() + days * DAY if days else float("inf")
        allowed = ends <= until and (maker.tenants is None or (tenants != "*" and set(tenants.split(",")) <= set(maker.tenants)))
        try:
            answer = self.run("create", maker, name="one", tenants=tenants, role=role, days=days)
        except (Forbidden, NotFound):
            assert not allowed
            return
        assert allowed
        self.add(answer, Model(maker, tenants, role, ends))

    def add(self, answer: Any, model: Model) -> None:
        self.tokens[answer["secret"]] = model
        self.numbers[answer["made"]["no"]] = answer["secret"]

    @rule(data=st.data(), no=st.integers(1, 8), overlap=st.sampled_from([0, 12]))
    def rotate(self, data: st.DataObject, no: int, overlap: int) -> None:
        maker, until = self.someone(data)
        old = self.tokens.get(self.numbers.get(no, ""))
        found = old is not None and (maker.tenants is None or (old.tenants is not None and set(old.tenants) <= set(maker.tenants)))
        try:
            answer = self.run("rotate", maker, no=no, overlap_hours=overlap, days=2)
        except NotFound:
            assert not found
            return
        except Forbidden:
            assert self.now() + 2 * DAY > until
            return
        except BadInput:
            assert old is not None
            assert old.ends <= self.now() or old.rotated
            return
        assert old is not None
        assert found
        assert old.ends > self.now()
        self.add(answer, Model(maker, "*" if old.tenants is None else ",".join(old.tenants), old.role, self.now() + 2 * DAY))
        old.ends, old.rotated = min(old.ends, self.now() + overlap * 3600), True

    @rule(data=st.data(), no=st.integers(1, 8))
    def revoke(self, data: st.DataObject, no: int) -> None:
        maker, _ = self.someone(data)
        one = self.tokens.get(self.numbers.get(no, ""))
        try:
            self.run("revoke", maker, no=no)
        except NotFound:
            assert one is None or (maker.tenants is not None and (one.tenants is None or not set(one.tenants) <= set(maker.tenants)))
            return
        assert one is not None
        one.ends = min(one.ends, self.now())

    @rule(hours=st.sampled_from([1, 12, 24, 72]))
    def wait(self, hours: int) -> None:
        self.clock.advance(hours * 3600)

    @invariant()
    def tokens_hold_exactly_as_long_as_they_should(self) -> None:
        if not hasattr(self, "follower"):
            return
        self.follower.fresh()
        for secret, one in self.tokens.items():
            expected = (one.tenants, ROLES[one.role]) if one.ends > self.now() else None
            assert held(self.here, secret) == held(self.there, secret) == expected

    @invariant()
    def nobody_has_more_than_who_made_it(self) -> None:
        for secret, one in getattr(self, "tokens", {}).items():
            assert ROLES[one.role] <= one.maker.permissions, secret[:12]
            assert one.maker.tenants is None or (one.tenants is not None and set(one.tenants) <= set(one.maker.tenants))


def held(door: Principals, secret: str) -> tuple[Any, Any] | None:
    try:
        bearer = door(secret)
    except Unauthenticated:
        return None
    return bearer.tenants, bearer.permissions


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
