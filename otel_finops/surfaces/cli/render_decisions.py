"""How decisions look: why a call was let through or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from otel_finops.surfaces.cli.tables import draw_rows, plain
from otel_finops.surfaces.cli.texts import safe

_DECISIONS: Final = ("at", "answer", "by", "tenant", "provider", "model", "agent", "user", "estimate_usd", "why")
_REASONS: Final = ("gate", "action", "rule", "text")
_TOLD: Final = ("reasons", "estimate", "decision_id", "action", "decided", "observed", "at", "recorded", "http_status", "estimate_usd")


def decisions(console: Console, answer: Mapping[str, Any]) -> None:
    """Decisions, the newest first, each with what decided it."""
    rows = [_row(one) for one in answer["decisions"]]
    if rows:
        draw_rows(console, rows, _DECISIONS)
        console.print(Text("(--json has all of each)", "dim"))
    plain(console, {**answer, "decisions": None if rows else []})


def decided(console: Console, answer: Mapping[str, Any]) -> None:
    """The answer to somebody who asks whether a call may be made."""
    said = "" if answer["decided"] == answer["action"] else f", {safe(answer['decided'])} if it were enforced"
    cost = "of unknown cost" if answer["estimate_usd"] is None else f"estimated at {safe(answer['estimate_usd'])} USD"
    console.print(Text.assemble((safe(answer["action"]), "bold"), f"{said} (HTTP {answer['http_status']}), a call {cost}"))
    if answer["reasons"]:
        draw_rows(console, answer["reasons"], _REASONS)
    guessed = (answer["estimate"] or {}).get("guessed")
    rest = {**{name: value for name, value in answer.items() if name not in _TOLD}, "guessed": guessed}
    if any(rest.values()):
        plain(console, rest)
    console.print(Text(f"decision {safe(answer['decision_id'])}" if answer["recorded"] else "not recorded", "dim"))


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    answer = one["answer"]
    reasons: Sequence[Mapping[str, Any]] = answer["reasons"]
    first = reasons[0] if reasons else None
    by = f"{first['gate']} {first['rule']}".replace("_", " ") if first and answer["decided"] != "allow" else None
    said = f"{answer['action']} (would {answer['decided']})" if answer["observed"] else answer["decided"]
    return {**one, "answer": said, "by": by, "why": first and first["text"]}
