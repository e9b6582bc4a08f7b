"""The section `features`: the switches of what the product does."""

from __future__ import annotations

from pydantic import Field

from otel_finops.settings.section import Section


class Features(Section):
    """Switches: what is off has no route (404), no command and does no work."""

    api: bool = Field(default=True, description="The HTTP API under `/api/v1`.")
    console: bool = Field(default=True, description="The web console: pages at `/` beside the API.")
    metrics: bool = Field(default=True, description="`/metrics` for Prometheus.")
    traces: bool = Field(default=True, description="Cost trees of traces, and the search for costly ones.")
    runs: bool = Field(default=True, description="Runs of agents and workflows.")
    sessions: bool = Field(default=True, description="Sessions: what conversations cost.")
    spend: bool = Field(default=True, description="Spend reports.")
    usage: bool = Field(default=True, description="The ledger's rows.")
    exports: bool = Field(default=True, description="Files of the ledger, of its rows and of spend: JSON lines, CSV, Parquet.")
    coverage: bool = Field(default=True, description="The report on calls that are unpriced, estimated or merged.")
    ledger: bool = Field(default=True, description="Verification and correction of the ledger.")
    quarantine: bool = Field(
        default=True,
        description="Batches that fail again and again are taken apart, and spans that cannot be recorded are kept in quarantine. "
        "Off: such batches are refused for ever, and only the log tells why.",
    )
    prices: bool = Field(default=True, description="What the price book says.")
    fx: bool = Field(default=True, description="Exchange rates.")
    subscriptions: bool = Field(default=True, description="What flat fees covered, and spreading them by the clock.")
    dashboard: bool = Field(default=True, description="The figures of today, the month and any time, their course, and what costs most.")
    kill_switches: bool = Field(
        default=True, description="Setting and clearing kill switches. Off: those that are set hold on, and so do those of the settings."
    )
    budgets: bool = Field(
        default=True,
        description="Budgets, and asking them about calls. Off: no call is held against one; what is booked is counted on.",
    )
    decisions: bool = Field(
        default=True,
        description="Deciding on calls before they are made, and holding money for them. Off: nothing is held.",
    )
    policies: bool = Field(
        default=True,
        description="Policies, and asking them about calls. Off: none is asked, and none can be made or changed.",
    )
    approvals: bool = Field(
        default=True,
        description="Requests for approval and the passes that people give. Off: what a policy lets through only with consent is stopped.",
    )
    credits: bool = Field(
        default=True,
        description="Prepaid pools of credits. Off: no call is held against them, and grants do not lapse by the clock; pools that there "
        "are go on paying for calls.",
    )
    guardrails: bool = Field(
        default=True,
        description="Asking guardrails about calls, and keeping what spans say that guardrails said. Off: neither, and no report.",
    )
    replay: bool = Field(default=True, description="Trying budgets and policies on calls of the past.")
    whatif: bool = Field(default=True, description="What recorded calls would have cost otherwise, and saved questions of that kind.")
    routing: bool = Field(
        default=True, description="Routing rules, and quality scores of models. Off: what is stored stays, and nobody can ask."
    )
    focus: bool = Field(default=True, description="Files of what calls cost as FOCUS rows.")
    chargeback: bool = Field(
        default=True, description="Cost centres, rules for shared costs, and reports on who bears what. Off: none of it; codes are kept on."
    )
    outcomes: bool = Field(
        default=True,
        description="How work came out and what each success cost. Off: what spans say of it is not kept, and nothing is taken.",
    )
    unit_costs: bool = Field(default=True, description="What a call, trace, session, user and thousand tokens cost.")
    waste: bool = Field(default=True, description="What was spent for nothing, with its dollars and what would have stopped it.")
    alerts: bool = Field(
        default=True, description="Alert rules: checking them, and what they have to tell. Off: nothing is checked, and nobody is told."
    )
    channels: bool = Field(
        default=True, description="Channels, routes and deliveries of notices. Off: nothing is put into a channel, what waits is not sent."
    )
    reconciliation: bool = Field(
        default=True, description="Providers' bills, and holding the ledger against them, by the clock and by hand."
    )
    anomalies: bool = Field(default=True, description="Days and hours of spend that stand out, and what drives them. Off: nobody looks.")
    audit: bool = Field(
        default=True, description="Reading and proving the trail of changes. Off: every change goes on record all the same."
    )
    footprint: bool = Field(default=True, description="Electricity and CO2e of calls.")
    forecast: bool = Field(default=True, description="Forecasts of budgets and of spend, and making those that are kept by the clock.")
    settings: bool = Field(default=True, description="What is set, and from where.")
    jobs: bool = Field(default=True, description="Seeing and starting what runs by the clock. Off: it runs all the same.")
    diagnostics: bool = Field(default=True, description="What a call would cost and whether it would be let through.")
    retention: bool = Field(
        default=True,
        description="Pruning what is older than the section `retention` says, by the clock and by hand. Off: nothing is pruned but "
        "skeletons.",
    )
    tokens: bool = Field(default=True, description="Stored tokens, for the API and for senders. Off: only those of the settings count.")

    @property
    def figures(self) -> bool:
        """Whether anybody asks for what is worked out of whole traces, runs and sessions."""
        return self.runs or self.sessions
