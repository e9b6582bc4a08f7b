"""What operations on alerts ask of the rooms below, as a protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from otel_finops.trees.queries import Tenants

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.alerting.evaluate import Checked, Looked
    from otel_finops.alerting.rule_store import Change
    from otel_finops.alerting.rules import Rule, RuleSet
    from otel_finops.alerting.states import Alert
    from otel_finops.alerting.store import Check, Event, Mute
    from otel_finops.governance.followed import Revision
    from otel_finops.identity.principals import Editor


class Alerts(Protocol):
    """Alert rules, and what they have to tell.

    Raises:
        NotFound: no such rule stands for who asks or changes.
        Busy, Unavailable: the store cannot answer now.
    """

    def rules(self) -> RuleSet:
        """All that stand, as they are stored at this moment."""
        ...

    def find(self, no: int, tenants: Tenants) -> Rule:
        """The rule of this number, if it is these tenants' alone."""
        ...

    def history(self, no: int, tenants: Tenants) -> Sequence[Revision[Rule]]:
        """Every revision of a rule that was these tenants' alone, newest first; of one that was deleted too."""
        ...

    def create(self, rule: Rule, editor: Editor, *, dry_run: bool = False) -> Rule:
        """Make a rule; raises BadInput for what can be none."""
        ...

    def update(self, no: int, change: Change, editor: Editor, revision: int | None = None, *, dry_run: bool = False) -> tuple[Rule, Rule]:
        """Change a rule; as it was and as it is.

        Raises BadInput as `create`, Forbidden where only who sees all tenants may change it, Conflict for another revision than seen.
        """
        ...

    def delete(self, no: int, editor: Editor, revision: int | None = None, *, dry_run: bool = False) -> Rule:
        """Take a rule away; as it was. Raises Forbidden and Conflict as `update`."""
        ...

    def look(self, rule: Rule) -> Looked:
        """What a rule, which need not be stored, finds at this moment."""
        ...

    def checks(self) -> Mapping[int, Check]:
        """What the last check of each rule came to, by number."""
        ...

    def standing(self, tenants: Tenants) -> Sequence[Alert]:
        """The alerts about these tenants that stand."""
        ...

    def events(self, tenants: Tenants, before_no: int | None, limit: int, *, rule_no: int | None, key: str | None) -> Sequence[Event]:
        """A page of what became of alerts about these tenants, newest first, those before a number."""
        ...

    def mutes(self) -> Sequence[Mute]:
        """The mutes that hold."""
        ...

    def mute(self, wanted: Mute, *, dry_run: bool = False) -> Mute:
        """Mute a rule or an alert, or (`until_ns` 0) take that back; raises BadInput where too many mutes hold."""
        ...

    def try_check(self) -> Checked:
        """What a check would come to now; nothing is stored, and nobody is told."""
        ...
