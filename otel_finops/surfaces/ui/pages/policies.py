"""Policies: what is done with calls of some kind; making them, and trying them before they hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from starlette.responses import Response

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.governing import changes_of, dressed, labelled, number_of, scope_text, sole_tenant, typed
from otel_finops.surfaces.ui.page import Answer, Page, action, page

_ROWS: Final = 100
_CHOICES: Final = 200
ACTIONS: Final = ("allow", "block", "require_approval", "downgrade", "throttle", "queue")
_CLEARED: Final[Mapping[str, Any]] = {"scope": {}, "min_cost_usd": "", "condition": "", "description": ""}
"""What an emptied field of a form that changes a policy stands for."""
_CALL: Final = ("provider", "model", "input_tokens", "max_output_tokens", "estimate_usd", "tenant", "agent", "user", "purpose", "service")
_MORE_OF_CALL: Final = ("operation", "step", "cost_center", "environment", "session", "trace_id", "tags", "text_chars", "state")
_LABELS: Final = {
    "scope": "For which calls", "min_cost_usd": "From a cost of, USD", "downgrade_to": "Model instead",
    "retry_after_s": "Ask again after, seconds", "enabled": "It is asked", "no": "Policy, by its number",
}  # fmt: skip
_POSITION: Final = re.compile(r"position (\d{1,6})\b")


@page("/policies", title="Policies", group="Govern", needs=("policies.list",))
def policies(page: Page) -> Response:
    """All policies in the order in which they are asked, and those that are ready to be taken."""
    found = page.ask("policies.list", limit=_ROWS)
    taken = {one["name"] for one in found["policies"]}
    hits = page.try_ask("decisions.blocked", carry=("tenant",), gate="policy", by_rule=True) if page.can("decisions.blocked") else None
    ready = page.ask("policies.ready")["policies"] if page.can("policies.create") else []
    return page.render(
        "policies/policies.html",
        **found,
        ready=[one for one in ready if one["name"] not in taken],
        actions=ACTIONS,
        hits=_hits(hits.value["rows"]) if hits and hits.value else None,
        window=page.window(),
        filtered=any(name in page.query for name in ("tenant", "search", "action", "enabled")),
        enforcement=page.context.settings.enforcement.mode,
    )


def _hits(rows: list[Json]) -> Mapping[str, int]:
    """Calls that policies decided on otherwise than by letting them pass, by the policy's number."""
    calls: Counter[str] = Counter()
    for one in rows:
        calls[one["rule_id"]] += one["calls"]
    return calls


@page("/policies/{no}", title="Policy", needs=("policies.show",))
def policy(page: Page) -> Response:
    """One policy, what it decided, and who changed what of it."""
    no = number_of(page, "policy")
    shown = page.ask("policies.show", no=no)
    revisions = [{**one["policy"], "deleted": one["deleted"]} for one in shown["history"]]
    complete = bool(revisions) and revisions[-1]["changed_at"] in (None, revisions[-1]["made_at"])
    decided = (
        page.try_ask("decisions.blocked", carry=("tenant",), gate="policy", rule_id=str(no)) if page.can("decisions.blocked") else None
    )
    return page.render(
        "policies/policy.html",
        **shown,
        decided=decided and decided.value,
        changes=changes_of(revisions, complete=complete),
        window=page.window(),
    )


# --- making, changing, taking away -----------------------------------------------------------------------------------


@page("/policies/new", title="New policy", needs=("policies.create",))
def new_policy(page: Page) -> Response:
    """The form of a new policy, or of one that is ready."""
    name = page.query.get("ready")
    ready = next((one for one in page.ask("policies.ready")["policies"] if one["name"] == name), None) if name else None
    tenant = sole_tenant(page)
    offered = {"action": page.query.get("action"), "scope": scope_text({"tenant": tenant}) if tenant else None}
    return _form(page, empty_form(OPERATIONS.named("policies.create"), {**offered, **(_values(ready) if ready else {})}))


@action("/policies/new", needs="policies.create")
def make_policy(page: Page) -> Response:
    """Make a policy."""
    done = page.submit("policies.create")
    if done.answer is None:
        return _form(page, done.filled)
    made = done.answer["policy"]
    return page.to(page.url("/policies/{no}", no=made["no"]), " ".join([f"The policy {made['name']} holds.", *done.answer["notes"]]))


@page("/policies/{no}/edit", title="Change a policy", needs=("policies.update",))
def edit_policy(page: Page) -> Response:
    """The form of a policy that stands."""
    now = page.ask("policies.show", no=number_of(page, "policy"))["policy"]
    return _form(page, empty_form(OPERATIONS.named("policies.create"), _values(now)), now)


@action("/policies/{no}/edit", needs="policies.update")
def change_policy(page: Page) -> Response:
    """Change a policy; an emptied scope, cost or condition is none."""
    no = number_of(page, "policy")
    done = page.submit("policies.update", no=no, **_emptied(page))
    if done.answer is None:
        now = page.ask("policies.show", no=no)["policy"]
        return _form(page, dressed(done.filled, empty_form(OPERATIONS.named("policies.create"))), now)
    said = "The policy is changed." if done.answer["changed"] else "It was so already."
    return page.to(page.url("/policies/{no}", no=no), " ".join([said, *done.answer["notes"]]))


@action("/policies/{no}/delete", needs="policies.delete")
def delete_policy(page: Page) -> Response:
    """Take a policy away."""
    no = number_of(page, "policy")
    done = page.submit("policies.delete", no=no)
    if done.answer is None:
        return page.to(page.url("/policies/{no}", no=no), done.filled.fault)
    return page.to(page.url("/policies"), f"The policy {done.answer['policy']['name']} is taken away; its history stays.")


def _emptied(page: Page) -> Mapping[str, Any]:
    return {name: value for name, value in _CLEARED.items() if not typed(page, name)}


def _values(policy: Mapping[str, Any]) -> Mapping[str, Any]:
    rate = policy["rate"]
    said = {"rate": f"{rate['calls']}/{rate['per_s']:g}:{rate['of']}" if rate else None}
    return {**policy, **said, **({"scope": scope_text(policy["scope"])} if "scope" in policy else {})}


def _form(page: Page, form: Filled, now: Json | None = None, check: Check | None = None) -> Response:
    faulty = form.fault or any(field.fault for field in form.fields.values())
    if check is None and form.fields["condition"].fault:
        check = Check(False, [], [], _pointed(form.fields["condition"].value, form.fields["condition"].fault))
    return page.render(
        "policies/form.html",
        status=400 if faulty else 200,
        form=labelled(form, _LABELS, ("name", "action")),
        now=now,
        revision=typed(page, "revision") or (now["revision"] if now else None),
        check=check,
    )


# --- whether a definition can be a policy ----------------------------------------------------------------------------


class Check(NamedTuple):
    """Whether a definition can be a policy.

    Attributes:
        faults: what is wrong with it.
        notes: what people should know of it.
        pointed: the condition before, at and after the sign that a fault is about; None where none is about one.
    """

    valid: bool
    faults: list[str]
    notes: list[str]
    pointed: tuple[str, str, str] | None = None


@action("/policies/validate", needs="policies.validate")
def validate(page: Page) -> Response:
    """Say whether what stands in the form can be a policy: to a script as a part of the page, else as the form again."""
    no = typed(page, "no")
    change = no.isascii() and no.isdigit() and page.can("policies.update")
    done = page.submit("policies.update", no=int(no), dry_run=True, **_emptied(page)) if change else page.submit("policies.validate")
    check = _checked(done.answer, done.filled)
    if page.is_partial:
        return page.render("policies/check.html", check=check)
    now = page.ask("policies.show", no=int(no))["policy"] if change else None
    return _form(page, dressed(done.filled, empty_form(OPERATIONS.named("policies.create"))), now, check)


def _checked(answer: Json | None, filled: Filled) -> Check:
    condition = filled.fields["condition"].value
    if answer is not None:
        faults = answer.get("faults", [])
        return Check(not faults, faults, answer["notes"], next(filter(None, (_pointed(condition, one) for one in faults)), None))
    faults = [f"{field.label}: {field.fault}" for field in filled.fields.values() if field.fault]
    return Check(False, faults or [filled.fault], [], next(filter(None, (_pointed(condition, one) for one in faults)), None))


def _pointed(condition: str, fault: str) -> tuple[str, str, str] | None:
    """The condition around the position that a fault names, from 1 on."""
    place = _POSITION.search(fault)
    at = int(place[1]) - 1 if place else -1
    return (condition[:at], condition[at : at + 1] or " ", condition[at + 1 :]) if 0 <= at <= len(condition) else None


# --- trying ----------------------------------------------------------------------------------------------------------


@page("/policies/simulate", title="Try a call", needs=("policies.simulate",))
def simulate(page: Page) -> Response:
    """What policies would do with one call that the query describes; nothing is recorded."""
    asked = "model" in page.query or "provider" in page.query
    given = {name: page.query.get(name, "") for name in ("provider", "model")}
    values = {"provider": "openai", "model": "gpt-4o", "input_tokens": 2000, "max_output_tokens": 500} if not asked else page.query
    return page.render(
        "policies/simulate.html",
        form=labelled(empty_form(OPERATIONS.named("policies.simulate"), values), _LABELS),
        fields=_CALL,
        further=_MORE_OF_CALL,
        answer=page.try_ask("policies.simulate", **given) if asked else None,
    )


@page("/policies/replay", title="Replay", needs=("replay.run",), slow=lambda query: "run" in query)
def replay(page: Page) -> Response:
    """What budgets and policies would have done with the calls of the page's time; asked once the query says `run`."""
    return page.render(
        "policies/replay.html",
        window=page.window(),
        form=empty_form(OPERATIONS.named("replay.run"), {"stopped": True, **page.query}),
        answer=page.try_ask("replay.run") if "run" in page.query else None,
        rules=_names(page),
    )


def _names(page: Page) -> Mapping[str, Mapping[int, str]]:
    """Standing policies and budgets by number."""
    parts = {name: page.try_ask(f"{name}.list", carry=(), limit=_CHOICES) if page.can(f"{name}.list") else Answer(None) for name in _RULES}
    return {name: {one["no"]: one["name"] for one in found.value[name]} if found.value else {} for name, found in parts.items()}


_RULES: Final = ("policies", "budgets")


# --- as a file -------------------------------------------------------------------------------------------------------


@page("/policies/file", title="Policies as a file", needs=("policies.export",))
def file(page: Page) -> Response:
    """All policies as YAML, and a set of them to be taken in."""
    return _file(page, empty_form(OPERATIONS.named("policies.import")))


@action("/policies/file", needs="policies.import")
def take_in(page: Page) -> Response:
    """Say what a file would change, or have it stand."""
    tries = typed(page, "do") != "import"
    done = page.submit("policies.import", dry_run=tries)
    if done.answer is None or tries:
        return _file(page, done.filled, done.answer)
    said = ", ".join(f"{done.answer[deed]} {deed}" for deed in ("created", "updated", "deleted", "unchanged"))
    return page.to(page.url("/policies"), f"The policies stand: {said}.")


def _file(page: Page, form: Filled, preview: Json | None = None) -> Response:
    faulty = form.fault or any(field.fault for field in form.fields.values())
    return page.render("policies/file.html", status=400 if faulty else 200, found=page.ask("policies.export"), form=form, preview=preview)
