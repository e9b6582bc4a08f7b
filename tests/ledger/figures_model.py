"""What the tables of runs and sums must hold, worked out from the cost tree and the fold of all entries, tenant by tenant."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ledger_rig import Rig

from otel_finops.genai.inheritance import resolve
from otel_finops.genai.sighting import AGENT, WORKFLOW, Sighting
from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.journal import standing_sightings
from otel_finops.ledger.standing import fold
from otel_finops.trees.cost_tree import CostNode, build

USD = 10**12
Sums = dict[tuple[Any, ...], tuple[int, ...]]


def whole_traces(rig: Rig) -> dict[int, tuple[list[Sighting], list[Entry]]]:
    """Sightings and standing entries of every trace that was settled, by number."""
    standing: dict[int, list[Entry]] = defaultdict(list)
    for net in fold(rig.entries()).values():
        standing[net.trace_no].append(net)
    with rig.store.read() as transaction:
        numbers = [int(no) for (no,) in transaction.execute("SELECT trace_no FROM traces WHERE booked")]
        sightings = standing_sightings(transaction, numbers)
    return {number: (sightings[number], standing[number]) for number in numbers}


def parents_in_tree(nodes: tuple[CostNode, ...]) -> dict[str, str | None]:
    """The parent of every span where it is drawn: the last one before it that is one level higher."""
    above: list[str] = []
    found: dict[str, str | None] = {}
    for node in nodes:
        del above[node.depth :]
        found[node.span_id] = above[-1] if above else None
        above.append(node.span_id)
    return found


def expected_runs(sightings: list[Sighting], entries: list[Entry]) -> Sums:
    """By (span, tenant): calls, failed and unpriced ones, tokens, cost; of the run's own tenant always, of others where there is any."""
    if not sightings:
        return {}
    trace_id = sightings[0].trace_id
    said = resolve(sightings)
    owners = {entry.span_id: entry.tenant for entry in entries}
    runs = {s.span_id: owners.get(s.span_id, said[s.key]["tenant"]) for s in sightings if s.kind in (AGENT, WORKFLOW)}
    found: Sums = dict.fromkeys(runs.items(), (0, 0, 0, 0, 0))
    for tenant in {entry.tenant for entry in entries}:
        mine = [entry for entry in entries if entry.tenant == tenant]
        failed = [entry for entry in mine if entry.error_type is not None]
        unpriced = [entry for entry in mine if entry.cost_pico is None]
        trees = [{node.span_id: node for node in build(trace_id, sightings, some).nodes} for some in (mine, failed, unpriced)]
        for span in runs:
            all_of_it, failures, without = (tree[span] for tree in trees)
            if all_of_it.calls:
                found[span, tenant] = (
                    all_of_it.calls, failures.calls, without.calls, all_of_it.tokens, all_of_it.subtree_pico,
                )  # fmt: skip
    return found


def expected_sums(entries: list[Entry]) -> Sums:
    """By (tenant, session, user): calls, failed and unpriced ones, tokens, cost, first start, last end."""
    groups: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.role == "call":
            groups[entry.tenant, entry.session or "", entry.user or ""].append(entry)
    return {
        key: (
            len(some),
            sum(entry.error_type is not None for entry in some),
            sum(entry.cost_pico is None for entry in some),
            sum(total_tokens(entry.usage) for entry in some),
            sum(entry.cost_pico or 0 for entry in some),
            min(entry.started_ns for entry in some),
            max(entry.started_ns + (entry.duration_ns or 0) for entry in some),
        )
        for key, some in groups.items()
    }


def stored_runs(rig: Rig, trace_no: int) -> Sums:
    columns = "calls, failed_calls, unpriced_calls, tokens, cost_usd, cost_pico"
    sql = f"SELECT span_id, tenant, {columns} FROM {{}} WHERE trace_no = ?"
    with rig.store.read() as transaction:
        tables = ("runs", "(SELECT * FROM run_shares WHERE calls > 0) s")  # of others there may be tools alone
        rows = [row for table in tables for row in transaction.execute(sql.format(table), (trace_no,))]
    return {(bytes(row[0]).hex(), row[1]): (*row[2:6], row[6] * USD + row[7]) for row in rows}


def stored_sums(rig: Rig, trace_no: int) -> Sums:
    columns = "tenant, session_ref, user_ref, calls, failed_calls, unpriced_calls, tokens, cost_usd, cost_pico, started_ns, ended_ns"
    with rig.store.read() as transaction:
        rows = transaction.execute(f"SELECT {columns} FROM trace_sums WHERE trace_no = ?", (trace_no,))
    return {tuple(row[:3]): (*row[3:7], row[7] * USD + row[8], row[9], row[10]) for row in rows}


def check_own_sums(rig: Rig, trace_no: int, sightings: list[Sighting], entries: list[Entry]) -> None:
    """A run's own calls are those that it has and the runs right below it have not; the nearest run above is its parent."""
    if not sightings:
        return
    above = parents_in_tree(build(sightings[0].trace_id, sightings, entries).nodes)
    kinds = {sighting.span_id: sighting.kind for sighting in sightings}
    columns = "span_id, parent_run, calls, own_calls, cost_usd, cost_pico, own_usd, own_pico, children"
    with rig.store.read() as transaction:
        rows = transaction.execute(f"SELECT {columns} FROM runs WHERE trace_no = ?", (trace_no,))
        shares = transaction.execute(
            f"SELECT {columns.replace('parent_run', 'NULL')[:-10]} FROM run_shares WHERE trace_no = ?", (trace_no,)
        )
    whole: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    own: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in (*rows, *shares):
        span = bytes(row[0]).hex()
        for amounts, values in ((whole, (row[2], row[4] * USD + row[5])), (own, (row[3], row[6] * USD + row[7]))):
            amounts[span] = [a + b for a, b in zip(amounts[span], values, strict=True)]
    left = {span: list(amounts) for span, amounts in whole.items()}
    children: dict[str, int] = defaultdict(int)
    for row in rows:
        span, at = bytes(row[0]).hex(), above[bytes(row[0]).hex()]
        while at is not None and kinds.get(at) not in (AGENT, WORKFLOW):
            at = above[at]
        assert (None if row[1] is None else bytes(row[1]).hex()) == at
        if at is not None:
            children[at] += 1
            left[at] = [a - b for a, b in zip(left[at], whole[span], strict=True)]
    assert left == {span: list(own[span]) for span in left}
    assert {bytes(row[0]).hex(): row[8] for row in rows} == {bytes(row[0]).hex(): children[bytes(row[0]).hex()] for row in rows}


def check_figures(rig: Rig) -> None:
    """All tables of figures are what a look at everything that stands says."""
    for trace_no, (sightings, entries) in whole_traces(rig).items():
        assert stored_runs(rig, trace_no) == expected_runs(sightings, entries)
        assert stored_sums(rig, trace_no) == expected_sums(entries)
        check_own_sums(rig, trace_no, sightings, entries)


def tools(rig: Rig) -> dict[str, tuple[int, int]]:
    """Uses of tools, and failed ones, by the run's span."""
    with rig.store.read() as transaction:
        rows = transaction.execute("SELECT span_id, tools, failed_tools FROM runs")
    return {bytes(span).hex(): (uses, failed) for span, uses, failed in rows}
