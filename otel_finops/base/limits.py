"""Every bound of the product, each with its reason. Nothing that a sender controls grows without one."""

from __future__ import annotations

from typing import Final

MIB: Final = 1024 * 1024

# --- receiving ---------------------------------------------------------------------------------------------------
BODY_BYTES_MAX: Final = 64 * MIB
"""Inflated request body: the OTLP specification's recommended default; gRPC's own 4 MiB loses stock batches with content."""
GZIP_MEMBERS_MAX: Final = 4_096
"""Streams in one gzipped body. Compressors write one, those that write blocks 64 KiB each; millions of empty ones would cost minutes."""
IN_FLIGHT_BYTES_MAX: Final = 256 * MIB
"""Request bytes held by all listeners together: four of the largest bodies, so that memory stays bounded with the store stopped."""
IN_FLIGHT_SPANS_MAX: Final = 400_000
"""Spans held by all listeners together: a 400-byte body can hold 200,000 empty spans, so bytes alone bound nothing."""
SPANS_PER_REQUEST_MAX: Final = 100_000
"""Stock exporters send 512, the Collector 8,192 a request; ten times that is a mistake or an attack."""
ATTRIBUTES_PER_SPAN_MAX: Final = 10_000
"""SDKs keep 128 by default; spans beyond this are rejected, their batch is kept."""
LINKS_PER_SPAN_MAX: Final = 128
"""The SDK's default; further links are dropped."""
VALUE_CHARS_MAX: Final = 65_536
"""Longest attribute value that is read (provider usage JSON is far below it); longer ones are cut."""
KEY_CHARS_MAX: Final = 512
"""Longer attribute keys are nobody's convention."""
JSON_DEPTH_MAX: Final = 64
"""Nesting of an OTLP/JSON body: Python's parser would recurse; protobuf stops at 100 by itself."""
REQUEST_DEADLINE_S: Final = 20.0
"""A client that needs longer for headers plus body is cut off, so that slow clients cannot hold connections."""
CONNECTIONS_MAX: Final = 1_000
"""Open OTLP/HTTP connections; beyond it new ones are answered 503."""

# --- forwarding --------------------------------------------------------------------------------------------------
FORWARD_BODY_BYTES_MAX: Final = 2 * BODY_BYTES_MAX
"""A request with our attributes added: some 200 bytes a span at most, of the most spans a request may hold."""
HOP_ANSWER_BYTES_MAX: Final = 64 * 1024
"""What is read of the next hop's answer: a partial success with its message has some hundred bytes."""

# --- names and texts that are stored -------------------------------------------------------------------------------
NAME_CHARS_MAX: Final = 256
"""Span names, models, agents, steps, tenants: longer ones are cut, with the cut visible as an ellipsis."""
TAGS_MAX: Final = 32
"""Allow-listed tags kept on a row."""
FINISH_REASONS_MAX: Final = 8
"""Different reasons why the answers of one call ended: providers know some ten words, and one answer ends for one of them."""
FINISH_REASON_CHARS_MAX: Final = 64
"""Longest such reason: they are words (`content_filter`); what is longer is somebody's text, and is cut."""

# --- counts --------------------------------------------------------------------------------------------------------
UNITS_PER_CALL_MAX: Final = 1_000_000_000
"""Most tokens (or other units) that one call can have; beyond it the usage is `bad_usage`."""
FX_FILE_BYTES_MAX: Final = 32 * MIB
"""A file of exchange rates, unpacked: the European Central Bank's history since 1999 is 1.6 MB as CSV and 7 MB as XML."""
FX_CELLS_MAX: Final = 200_000
"""Groups times days of one spend report in another currency: every day of a group is converted at its own rate."""
MONEY_RULES_MAX: Final = 1_000
"""Accounts, discounts, subscriptions and trusted sources in the settings, each: they are tried one after the other for every call."""
REPORTED_USD_MAX: Final = 10_000
"""Most USD that a sender may state as the cost of one call: a thousand times the dearest calls there are, so more is another unit."""
YEARS_AHEAD_MAX: Final = 1
"""Span times further ahead of our clock than this are rejected: they would open budget periods that never come."""
EARLIEST_START_NS: Final = 1_577_836_800_000_000_000
"""2020-01-01: no GenAI span is older; 0 and 1970 are unset clocks."""

# --- journal and settling ------------------------------------------------------------------------------------------
GROUP_COMMIT_SPANS_MAX: Final = 16_384
"""Spans written in one transaction; bounds the commit's latency and its memory."""
SETTLE_SPANS_MAX: Final = 20_000
"""Spans read in one settling round, unless one trace alone is larger."""
SETTLE_WAIT_MAX_S: Final = 60.0
"""A trace that is never quiet (a session, a worker's loop) is settled all the same after so long; budgets must see it."""
SETTLE_BATCHES_AT_ONCE: Final = 16
"""A trace in more requests than this is settled when it is quiet, not with each: every settling reads the whole trace."""
SETTLE_AHEAD_MAX_S: Final = 7_200.0
"""Further ahead no trace is ever due (`ledger.settle_after` is at most an hour): such a time shows that the clock went back."""
PARKED_TRACES_MAX: Final = 10_000
"""Traces that cannot be settled and are put aside in memory; beyond it they are tried again each round, which is slow but loses nothing."""
NEIGHBOUR_TRACES_MAX: Final = 256
"""Traces that one neighbourhood may join: real ones join a handful; repeated answer ids must not chain the whole ledger."""
CALL_BUCKETS_MAX: Final = 64
"""Minutes of one call that are indexed for merging by numbers across traces."""
QUEUE_BATCHES_MAX: Final = 1_024
"""Batches waiting for the group commit; bytes are bounded by the admission already."""
POISON_BATCHES_REMEMBERED_MAX: Final = 4_096
"""Failed batches whose digest and error are remembered, some 2 MB: more than all senders' exporters have under way at a time."""
POISON_FAILURES: Final = 3
"""Equal failures after which a batch is taken apart: stock exporters try about as often before they give a batch up."""
POISON_SPANS_PER_BATCH_MAX: Final = 32
"""Spans of one batch that are put into quarantine; when more fail, it is the program that is ill and not the spans."""
QUARANTINE_SPANS_PER_REASON_MAX: Final = 128
"""Spans in quarantine for one error: a bug that fails everything must not be obeyed batch by batch, however small batches are."""
QUARANTINE_SPANS_MAX: Final = 1_024
"""Spans in quarantine: so many that nobody looks after; beyond it senders are told to keep theirs."""
SUBJECTS_REMEMBERED_MAX: Final = 50_000
"""User and session references kept in memory: some 20 MB; the others are looked up."""
RECENT_SPANS_MAX: Final = 16_384
"""Spans of traces that were just journalled, kept in memory to be settled: some 25 MB, a second or two of full load. Others are read."""
TWINS_PER_CALL_MAX: Final = 128
"""Calls of another scope with equal numbers that are looked at before and after one call, nearest in time first."""
ROLLUP_DIMENSIONS_KNOWN_MAX: Final = 50_000
"""Dimension tuples whose number a settler remembers, some 20 MB; beyond it they are forgotten and looked up again."""

SHAPES_MAX: Final = 4_096
"""Shapes of spans (scope and set of keys) whose reading is remembered: real services send dozens; a full memo is emptied."""

# --- storing -------------------------------------------------------------------------------------------------------
RESERVE_BYTES: Final = 32 * MIB
"""Room kept beside a SQLite database for the day on which its disk is full: a checkpoint may grow the file by all pages of the WAL,
16 MiB at which it is due and some 11 MiB of the largest group commit on top."""
BACKUP_STEP_PAGES: Final = 1_024
"""Pages of 4 KiB that a backup copies at a time, some 10 ms of one disk's work, before it lets others in."""

# --- the trail of changes ------------------------------------------------------------------------------------------
AUDIT_TEXT_CHARS_MAX: Final = 2_000
"""One text of a change that is put on record whole: reasons have 500 characters at most; files and lists are cut to a digest."""
AUDIT_VALUE_BYTES_MAX: Final = 16 * 1024
"""What was before, and what is after, each as JSON: a page of the trail must fit into an answer."""
AUDIT_VALUE_DEPTH_MAX: Final = 16
"""Nesting of what is put on record; deeper values are cut off."""
AUDIT_FAULTS_MAX: Final = 100
"""Broken chains that one walk through the trail names; it counts all of them."""
IDEMPOTENCY_KEY_CHARS_MAX: Final = 128
"""An idempotency key: a UUID has 36 characters."""
IDEMPOTENCY_KEY_HOURS: Final = 24
"""How long a key is remembered: clients that repeat a request do so within minutes, those that keep it on disk within a day."""
IDEMPOTENCY_ANSWER_BYTES_MAX: Final = 1024 * 1024
"""A stored answer, deflated: a run over ten thousand models answers with some 300 KB."""

# --- retention -----------------------------------------------------------------------------------------------------
PRUNE_PAGE_ROWS: Final = 8_192
"""Ledger rows looked through at a time for traces to prune: bounds their memory, and how long one page takes to find."""
PRUNE_STEP_TRACES: Final = 1_024
"""Traces that one transaction of a pruning removes at most: senders wait for it no longer than for a large group commit."""
PRUNE_STEP_ENTRIES: Final = 8_192
"""Entries of these traces, unless one trace alone has more: they are read in full, some 20 MB."""
PRUNE_STEP_ROWS: Final = 5_000
"""Rows of other classes that one transaction deletes."""
PRUNE_JOB_S: Final = 900.0
"""Seconds after which the job that prunes by the clock begins no further step, so that other jobs get their turn; the next one goes on."""

# --- correcting ----------------------------------------------------------------------------------------------------
CORRECTION_PAGE_ROWS: Final = 8_192
"""Ledger rows looked through at a time for traces to correct: bounds their memory, and how long one page takes to find."""

ESTIMATE_SAMPLES_MAX: Final = 256
"""Calls whose usage is looked at for one estimate, the last ones: a median of more is no better."""
ESTIMATES_REMEMBERED_MAX: Final = 4_096
"""Habits that one run of estimates remembers, some 4 MB; each page's own are always among them, the others are looked up again."""

ALLOWANCE_CHANGES_MAX: Final = 250_000
"""Calls whose free searches one run changes, some 75 MB: a month of a project has a few ten thousand free ones by the lists of today."""

SESSION_USERS_SHOWN: Final = 20
"""Users named of a session that several people share; filters know all of them."""
LINKED_TRACES_MAX: Final = 64
"""Traces that link to a run, or that it links to, of which one answer tells: hand-offs have one or two, and each is read whole."""
FIGURES_TRACES_AT_ONCE: Final = 256
"""Traces whose runs are worked out from the store at a time: some 3,000 spans, which are in memory meanwhile."""

# --- reading -------------------------------------------------------------------------------------------------------
PAGE_ROWS_MAX: Final = 1_000
"""Rows of one API page."""
API_BODY_MIB: Final = 8
"""MiB of an API request's body unless the settings say otherwise: the largest price list has 3 MiB, 4 MiB in base64."""
API_BODY_MIB_MAX: Final = 64
"""MiB of an API request's body that can be set at most: a body is held in memory, and its JSON takes some times as much."""
API_BODIES_BYTES_MAX: Final = 2 * API_BODY_MIB_MAX * MIB
"""Bytes of request bodies that the API holds at a time: two of the largest; beyond it requests are asked to come again."""
API_URL_BYTES_MAX: Final = 16 * 1024
"""Path and query: HTTP asks everyone for 8,000 bytes, the signed head of a large ledger takes some 5,000."""
API_JSON_CONTAINERS_MAX: Final = 100_000
"""Objects and arrays of an API request's body: a list of a thousand calls has a few thousand; each takes some 100 bytes when parsed."""
HOSTS_KNOWN_MAX: Final = 64
"""`Host` values of which is remembered whether they name this machine: a service has a few names."""
API_GZIP_BYTES_MIN: Final = 4_096
"""Shorter answers are not worth compressing: they fit into a few packets."""
RATE_KEYS_MAX: Final = 10_000
"""Principals and addresses whose request rate is remembered, some 3 MB; beyond it those that were quiet longest are forgotten."""
HEAVY_AT_ONCE_MAX: Final = 4
"""Long operations of one process at a time, walks through the ledger and runs: others keep threads and cores for short ones."""
GROUPS_MAX: Final = 10_000
"""Groups of one spend report."""
DASHBOARD_CELLS_MAX: Final = 200_000
"""Groups, or pieces of time times groups, that a dashboard's figures are made from: some 60 MB."""
SERIES_PIECES_MAX: Final = 20_000
"""Hours or days of one series of spend: the hours of two years."""
SERIES_CELLS_MAX: Final = 1_000_000
"""Pieces times groups of one series of spend, the empty ones included: some 100 MB at worst."""
FORECAST_DAYS_MAX: Final = 182
"""Days of the past that a forecast looks at: half a year tells weekdays and trends, and older habits mislead."""
FORECAST_STEPS_MAX: Final = 400
"""Steps of the future that are forecast: the rest of a year."""
FORECAST_PIECES_MAX: Final = 600
"""Pieces of the past that a forecast of a rolling window of hours looks at: ten windows."""
FORECASTS_MAX: Final = 5_000
"""Budgets whose forecasts are kept, those of the lowest numbers: some 20 s of each run of the job. Any other is forecast when asked for."""
FORECASTS_AT_ONCE: Final = 50
"""Budgets that are forecast in one transaction: less than 0.3 s."""
BACKTEST_MOMENTS_MAX: Final = 60
"""Moments of the past at which a backtest asks: some 0.2 s of one core."""
ANOMALY_SCOPES_MAX: Final = 500
"""Tenants, and agents, models and cost centres of tenants, whose spend is judged, of each kind those that spend most: a few seconds."""
ANOMALY_SERIES_MAX: Final = 1_000
"""Scopes that have an anomaly score in /metrics, those with the highest score."""
ANOMALIES_EXPLAINED_MAX: Final = 200
"""Anomalies whose drivers are worked out in one run, the newest first: each reads up to twice `DRIVER_CALLS_MAX` calls."""
ANOMALY_WHY_CHARS_MAX: Final = 500
"""Longest word on why an anomaly is acknowledged or muted: a sentence or two."""
ANOMALY_MUTES_MAX: Final = 1_000
"""Mutes that stand: every finding that is shown is held against each of them."""
ANOMALY_MUTES_OF_TENANT_MAX: Final = 100
"""Of them those of one tenant, so that no tenant takes the others' places."""
DRIVER_CALLS_MAX: Final = 200_000
"""Calls that are read to tell what drives a difference, at each of its two ends: about a second."""
DRIVER_GROUPS_MAX: Final = 1_000
"""Agents whose part in an anomaly is worked out one by one, those whose spend changed most; a second at worst."""
TREND_PIECES_MAX: Final = 1_000
"""Hours, days, weeks or months of one trend: more than a screen has columns."""
COVERAGE_ROWS_MAX: Final = 250_000
"""Rows that one coverage report looks at, newest first: each is read with its span, which takes some ten seconds for all."""
COVERAGE_SILENT_TRACES_MAX: Final = 5_000
"""Traces without any call that one coverage report looks at, newest first: all of their spans are read."""
SERIES_MAX: Final = 10_000
"""Series of one exported metric; the rest is summed into `other`."""
TREE_NODES_MAX: Final = 200_000
"""Nodes of one cost tree that are answered; sums always cover all."""
LABEL_AGENTS_MAX: Final = 20
"""Agents of one trace that a list of traces names; its tree names them all."""

# --- exporting -----------------------------------------------------------------------------------------------------
EXPORTS_AT_ONCE_MAX: Final = 4
"""Exports that one process writes at a time: each takes a core while its reader keeps up, and holds some 40 MB, as Parquet 100 MB."""
EXPORT_STALL_S: Final = 60.0
"""A client that takes nothing of its export for so long is cut off, so that its place is free for others."""
PARQUET_GROUP_ROWS_MAX: Final = 65_536
"""Rows of a row group: large enough to be packed well, and for a footer of 20 KB a group to stay small beside it."""
PARQUET_GROUP_BYTES_MAX: Final = 32 * MIB
"""Bytes of a row group before they are packed; they are in memory until then."""

# --- decoding ------------------------------------------------------------------------------------------------------
FIELDS_PER_SPAN_MAX: Final = 20_000
"""Protobuf fields of one span: attributes, events and links of the largest span that is taken, and an end to reading two-byte fields."""
FIELDS_PER_REQUEST_MAX: Final = 4_000_000
"""Protobuf fields of one request: forty a span for the most spans; a 64 MiB body can hold 33 million empty ones, seconds of reading."""
EVENTS_PER_SPAN_MAX: Final = 128
"""Events searched for an exception; the SDK's default."""
VALUE_DEPTH_MAX: Final = 16
"""Nesting of one attribute value that is read; nobody's usage or tags nest deeper."""
VALUE_ITEMS_MAX: Final = 1_024
"""Values inside one array or map attribute; the rest is cut."""
TRACE_STATE_CHARS_MAX: Final = 512
"""What W3C Trace Context asks everyone to carry."""
JSON_CONTAINERS_MAX: Final = 4_000_000
"""Objects and arrays of an OTLP/JSON body, a parsed one takes some 100 bytes: counted before parsing."""
JSON_QUOTES_MAX: Final = 16_000_000
"""Quotation marks of an OTLP/JSON body, two for a string of 50 bytes or more when parsed: counted before parsing."""
HEADER_BYTES_MAX: Final = 64 * 1024
"""Request line and headers of one OTLP/HTTP request."""
RESOLVER_CALLS_MAX: Final = 32
"""Credentials that a host application is asked for at the same time: more than it would answer sooner, and each is a thread."""
RESOLVER_ANSWER_BYTES_MAX: Final = 128 * 1024
"""Of such an answer: a name, a role and the most tenants with the longest names."""
RESOLVED_REMEMBERED_MAX: Final = 10_000
"""Such answers that are remembered, and as many refusals: some megabytes, and more bearers than one process serves in half a minute."""
TOKEN_TENANTS_MAX: Final = 256
"""Tenants that a stored token, or a host application's answer, names one by one: thousands of either are in every process's memory."""
TOKENS_MAX: Final = 10_000
"""Stored tokens of a kind that hold: all of them are in every process's memory. As many as the settings may list."""
RECEIVE_THREADS: Final = 16
"""Requests of one listener that are decoded and waited for at a time; the others queue within the admission's budget."""

# --- prices --------------------------------------------------------------------------------------------------------
PRICE_FILE_BYTES_MAX: Final = 64 * MIB
"""A price list, inflated: LiteLLM's whole file has 3 MiB; a bomb must not fill the memory."""
PRICE_MEMO_MAX: Final = 20_000
"""Model names whose row is remembered, misses too; when it is full it starts anew, so that random names cost time and no memory."""
PRICE_WATCHES_MAX: Final = 1_000
"""Watched models of an installation: each is looked up at every moment at which the book changes whenever metrics are read."""
PRICE_RULES_MAX: Final = 20_000
"""Price rules of an installation, ended ones and ends included: all are read into memory by every process whenever one changes."""
SUBSCRIPTION_WINDOWS_MAX: Final = 1_000
"""Stored flat fees of an installation, ended ones and ends included: every call is held against those that stand."""
QUOTES_PER_REQUEST_MAX: Final = 1_000
"""Calls priced by one request: some 10 ms, so that quotes for a screen do not keep others waiting."""
CALCULATOR_LINE_CHARS_MAX: Final = 65_536
"""One record of `price` or `resolve`; a real one has some 600 characters."""

# --- governing -----------------------------------------------------------------------------------------------------
KILL_SWITCHES_MAX: Final = 1_000
"""Kill switches that are set at a time: every decision looks at all of them, and people must be able to read them."""
KILL_SWITCHES_OF_TENANT_MAX: Final = 100
"""Of those, set for one tenant by people who are bound to tenants: no tenant's people take the places of all others."""
KILL_SWITCHES_KEPT_FREE: Final = 100
"""Places that only who sees all tenants fills: what stops everything can be set however much others have set."""

GUARDRAILS_MAX: Final = 16
"""Guardrails of an installation: all of them are asked about every call, each on a thread of its own."""
GUARDRAIL_CALLS_MAX: Final = 64
"""Calls that one guardrail is asked about at a time: each is a thread, and a slow guardrail must not take all of them."""
GUARDRAIL_ANSWER_BYTES_MAX: Final = 16 * 1024
"""A verdict and a sentence."""
REPLAY_CALLS_MAX: Final = 500_000
"""Calls of the past that one replay looks at, those before its beginning included: some 100 us each."""
REPLAY_DRAFTS_MAX: Final = 100
"""Rules that one replay tries which do not stand."""
REPLAY_S_MAX: Final = 45.0
"""Seconds that one replay takes: whoever asked still waits for its answer."""
STOPPED_RULES_MAX: Final = 1_000
"""Rules, with what each stopped, of one answer of `decisions.blocked`: as many as the longest page of a list has rows."""

REPLAY_EXAMPLES_MAX: Final = 50
"""Calls that a replay shows one by one."""
REPLAY_TRACES_MAX: Final = 100_000
"""Traces and sessions, and callers with a rate of their own, that a replay keeps in mind; some 100 MB of them."""
APPROVALS_PENDING_OF_TENANT_MAX: Final = 1_000
"""Requests of one tenant that wait for approval at a time: more than people decide on; what comes beyond it is stopped without one."""
SCOPE_DIMENSIONS_MAX: Final = 16
"""All dimensions that there are, and some tags."""
BUDGETS_MAX: Final = 50_000
"""Budgets that stand at a time; every process holds them all, some 2 KiB each."""
BUDGETS_OF_TENANT_MAX: Final = 5_000
"""Of those, made for one tenant by people who are bound to tenants: no tenant's people take the places of all others."""
BUDGETS_OF_TENANT_FOR_CALL_MAX: Final = 100
"""Of those, for one and the same call: each costs every decision and every booking of it some 50 microseconds, in which others wait."""
BUDGET_DEPTH_MAX: Final = 16
"""A budget within a budget within a budget; every decision asks all of them."""
BUDGET_THRESHOLDS_MAX: Final = 16
"""Thresholds of one budget; each of them is looked at with every call that it is for."""
BUDGET_PERCENT_MAX: Final = 1_000
"""The highest threshold, ten times the limit; beyond that a warning tells nobody anything new."""
BUDGET_SERIES_MAX: Final = 1_000
"""Budgets that have series in /metrics: some 50 ms of each scrape, during which decisions wait."""
ROLLING_DAYS_MAX: Final = 366
"""Days of a rolling window: a leap year; each is a row that a status adds up."""
ROLLING_HOURS_MAX: Final = 24 * 31
"""Hours of a rolling window: a month; longer ones are counted by days."""

RESERVATIONS_SWEPT_MAX: Final = 200
"""Reservations that one transaction gives back because their time is over: some milliseconds, in which nobody else decides."""
DECISIONS_TOGETHER_MAX: Final = 64
"""Decisions of one transaction: some 10 ms on SQLite; those that wait behind it are the next one."""
DECISIONS_WAITING_MAX: Final = 2_000
"""Decisions that wait for a transaction: some seconds of work; whoever comes then is answered as if the store were away."""
RESERVATION_ID_CHARS_MAX: Final = 64
"""An id that somebody names; ours have 24."""

POLICIES_MAX: Final = 2_000
"""Policies that stand at a time; every process holds them all, and people must be able to tell which one comes first."""
POLICIES_OF_TENANT_MAX: Final = 200
"""Of those, made for one tenant by people who are bound to tenants: no tenant's people take the places of all others."""
POLICY_FILE_BYTES_MAX: Final = 1024 * 1024
"""A set of policies as YAML: two thousand have some 600 KB."""
CONDITION_CHARS_MAX: Final = 2_000
"""A condition: what is longer is several policies."""
PAIRS_CHARS_MAX: Final = 8_000
"""Characters of an input like NAME=VALUE,NAME=VALUE: room for all that a scope, an alert rule's parameters or its labels may say."""
CONDITION_DEPTH_MAX: Final = 24
"""Brackets within brackets of a condition; the library that evaluates them stops at 96."""
CONDITION_ITEMS_MAX: Final = 200
"""Items of a list that a condition writes out."""
CONDITION_STEPS_MAX: Final = 5_000
"""Operations that evaluating a condition can take, lists times what is done with each item: a millisecond at most."""
CONDITION_US_MAX: Final = 5_000
"""Microseconds that a condition, or one of its regular expressions, may take on trial, the fastest of five: sound ones take some hundred
at most, also where the machine is busy; those of regular expressions that are dear to compile are tens of thousands."""
CONDITIONS_OF_TENANT_US_MAX: Final = 10_000
"""Microseconds of the processor for which conditions of one tenant's people are evaluated for a call: hundreds of sound ones take less, and
a transaction full of decisions stays below `enforcement.store_timeout`, after which others' calls would be decided on without the store."""
CONDITION_BUDGETS_MAX: Final = 64
"""Budgets of one call that conditions are told of, those that are used most: `budgets` is a list like others."""
TRACE_CALLS_COUNTED_MAX: Final = 10_000
"""Calls of a minute, and calls being made, that are counted for one trace or session: more than any policy lets pass."""
SESSION_TRACES_SUMMED_MAX: Final = 2_000
"""Traces of one session whose sums are added up for a policy, the last ones: some milliseconds."""
RATES_SWEPT: Final = 4
"""Rates that are over and go whenever a new one comes: so there are never many more than are in use."""

CREDIT_POOLS_MAX: Final = 20_000
"""Pools of credits ever made, closed ones included: what they paid can be corrected for ever, so every process holds them all."""
CREDIT_POOLS_OF_TENANT_MAX: Final = 1_000
"""Of those, of one tenant and made by people who are bound to tenants: no tenant's people take the places of all others."""
CREDIT_GRANTS_MAX: Final = 200
"""Grants of one pool of which something is left: every debit of a pool with grants reads them."""
CREDIT_AMOUNT_UNITS_MAX: Final = 10**15
"""Whole units of a currency that one movement moves: thousands of such sums still fit 64 bits."""
CREDIT_RATES_KNOWN_MAX: Final = 10_000
"""Exchange rates of days that are remembered for debits: a currency for 27 years, some megabytes."""

BUDGET_MATCHES_KNOWN_MAX: Final = 4_096
"""Kinds of calls of which a process remembers which budgets are for them; a full memo is emptied."""
BUDGET_FILL_ROWS: Final = 2_000
"""Rows that are counted at a time for budgets that lack them, read on a snapshot: 100 to 300 ms of one core. When a budget is made over so
few, they are counted there and then."""
BUDGET_FILLS_AT_ONCE: Final = 10_000
"""Budgets that are filled in one walk through the ledger; further ones take the next walk. Each costs some microseconds a transaction."""
BUDGET_PENDING_SWEPT_MAX: Final = 1_000
"""Traces whose pending calls one transaction takes back because they were settled by somebody who did not."""
DECISION_THREADS: Final = 32
"""Threads for what is asked with every model call: one decides, the others settle and release, or wait for guardrails."""

# --- outcomes, unit costs, waste -------------------------------------------------------------------------------------
OUTCOME_KINDS_OF_TRACE_MAX: Final = 16
"""Kinds of outcomes of one trace, by tenant; each takes a walk over the trace's spans when it settles. Later ones are not kept."""
OUTCOMES_READ_MAX: Final = 500_000
"""Outcomes that one report adds up: some ten seconds; beyond it somebody has to narrow the time."""
OUTCOMES_AT_ONCE: Final = 10_000
"""Outcomes that are looked up at a time, some 10 MB."""
DISTINCT_SUBJECTS_MAX: Final = 500_000
"""Sessions, or users, of one group that are told apart, some 60 MB."""
SPLIT_TRACES_MAX: Final = 2_000
"""Traces that lie across an end of the time asked for, whose calls are read; where there are more, entries are counted instead of sums."""
CACHE_MODELS_MAX: Final = 10_000
"""Models whose savings by caches are told apart, and different calls without uncached tokens that wait for a rate; some 10 MB."""
WASTE_DAYS: Final = 7
"""Days that are looked through for waste when nobody says which."""
WASTE_CALLS_MAX: Final = 300_000
"""Calls that are looked through for waste at a time, those of the dearest traces where there are more: each is read one by one, which
takes some 10 seconds for all."""
WASTE_GROUPS_MAX: Final = 10_000
"""Agents and models whose waste is told apart, some 20 MB; that of further ones is one finding of its kind and tenant."""
WASTE_TRACES_SHOWN: Final = 10
"""Traces that a finding names, the dearest."""
WASTE_RUNS_MAX: Final = 100_000
"""Failed runs, the newest, that are looked at for what they cost."""
UNIT_COST_DAYS: Final = 30
"""Days of unit costs when nobody says which: traces, sessions and users are counted from single rows."""
OUTCOME_NOTE_CHARS_MAX: Final = 500
"""A sentence about why it came out so."""

# --- jobs ----------------------------------------------------------------------------------------------------------
JOB_RUNS_KEPT: Final = 100
"""Runs of each job that are kept: of a daily one a season, of one that runs every quarter of a minute some 25 minutes."""
JOB_SAID_CHARS_MAX: Final = 500
"""What a run says of itself: a line for a person; errors that say more are cut."""
JOB_INTERVAL_S_MIN: Final = 5.0
"""The shortest interval that settings give a job: each run takes its lease and gives it back, two writes."""

# --- alerts --------------------------------------------------------------------------------------------------------
ALERT_RULES_MAX: Final = 1_000
"""Alert rules that stand at a time: all are checked every minute, most of them with a few statements."""
ALERT_RULES_OF_TENANT_MAX: Final = 50
"""Of those, made for one tenant by people who are bound to tenants: no tenant's people take the places of all others."""
ALERT_LIST_MAX: Final = 100
"""Budgets or pools that one rule names: what is for more is for all."""
ALERT_LABELS_MAX: Final = 8
"""Labels that a rule adds to its notices, and labels that it groups by."""
ALERT_SECONDS_MAX: Final = 31 * 86_400
"""How long something must hold, be gone, or go untold again: a month."""
ALERT_WINDOW_MINUTES_MAX: Final = 7 * 1_440
"""The longest window of a rule on the rate of spend: a week, read from sums of hours."""
ALERTS_OF_RULE_MAX: Final = 200
"""Alerts that one rule has at a time, the worst ones; a rule that finds more is to group them, which its state says."""
ALERT_BURNING_BUDGETS_MAX: Final = 200
"""Budgets whose rate of spend one rule reads at a check, those most spent first: some milliseconds each."""
ALERT_LINES_MAX: Final = 20
"""Things that the text of one notice lists; of further ones it says how many they are."""
ALERT_EVENTS_DAYS: Final = 400
"""How long it is kept what became of alerts: a year can be compared with the one before."""
ALERT_MUTES_MAX: Final = 1_000
"""Mutes that hold at a time."""

# --- what if, routing, quality --------------------------------------------------------------------------------------
WHATIF_S_MAX: Final = 45.0
"""Seconds for which one question of what calls would have cost reads the ledger: whoever asked still waits for its answer."""
WHATIF_LOCAL_S_MAX: Final = 900.0
"""The same for a command on the database itself, whose progress is shown: some hundred million calls."""
WHATIF_PIECE_CALLS: Final = 32_768
"""Calls that are priced at a time: some 20 MB, and progress is told several times a second."""
WHATIF_GROUPS_MAX: Final = 1_000
"""Models of recorded calls that one answer tells apart; the calls of further ones are one group without a name."""
ROUTING_CANDIDATES_MAX: Final = 20
"""Candidates of one routing rule: every recorded call is priced by each of them."""
DEFINITIONS_MAX: Final = 2_000
"""Saved scenarios that stand at a time, and as many routing rules: lists are made from all of them."""
DEFINITIONS_OF_TENANT_MAX: Final = 200
"""Of those, made for one tenant by people who are bound to tenants: no tenant's people take the places of all others."""
QUALITY_FILE_BYTES_MAX: Final = 4 * MIB
"""A file of quality scores: the most rows have some hundred bytes each."""
QUALITY_SCORES_MAX: Final = 10_000
"""Scores of one file: models times tasks; all that stand are read for every simulation."""
QUALITY_SOURCES_MAX: Final = 50
"""Sources of quality scores that stand for one tenant, or for all, at a time."""

# --- asking addresses that somebody gave -----------------------------------------------------------------------------
OUTBOUND_URL_CHARS_MAX: Final = 2_048
"""Longest such URL: the addresses of webhooks have some two hundred characters, with tokens in them."""
OUTBOUND_ADDRESSES_TRIED: Final = 3
"""Addresses of one name that are tried one after the other: names with more have them for balance, and time is short."""

# --- cost centres and shared costs ----------------------------------------------------------------------------------
COST_CENTERS_MAX: Final = 10_000
"""Cost centres that stand at a time; every report reads them all, some 20 microseconds each."""
COST_CENTERS_OF_TENANT_MAX: Final = 1_000
"""Of those, made for one tenant by people who are bound to tenants: no tenant's people take the places of all others."""
COST_CENTER_DEPTH_MAX: Final = 10
"""Cost centres one within the other: more than any company has levels."""
ALLOCATION_RULES_MAX: Final = 1_000
"""Rules for shared costs, fees and credits that stand at a time; a report asks each of them about every group of calls."""
ALLOCATION_RULES_OF_TENANT_MAX: Final = 100
"""Of those, made for one tenant by people who are bound to tenants."""
CHARGEBACK_CELLS_MAX: Final = 200_000
"""Groups of calls of one report: tenants times cost centres times what rules ask for, some 500 bytes each."""
SHARE_TARGETS_MAX: Final = 1_000
"""Cost centres, or values of a tag, that one rule names: its definition stays below some tens of kilobytes."""

# --- bills ---------------------------------------------------------------------------------------------------------
BILL_FILE_BYTES_MAX: Final = 256 * MIB
"""A provider's bill, inflated: a cloud's file of costs of a month and one account has some hundred MB; it is in memory while it is read."""
BILL_ROWS_MAX: Final = 5_000_000
"""Rows of such a file: some minutes of reading."""
BILL_COLUMNS_MAX: Final = 1_000
"""Columns of a table: FOCUS has some sixty, a cloud's own export some hundreds."""
BILL_ROW_CHARS_MAX: Final = 1_048_576
"""Longest line of a CSV file: a value of a byte is fifty in memory, and a small gzipped file may be one long line."""
BILL_COMMAS_MAX: Final = 16_000_000
"""Commas of a bill in JSON, one for each value, which takes some 40 bytes when parsed: counted before parsing."""
BILL_LINES_MAX: Final = 200_000
"""Lines that are left of a bill once rows are added up by day, model and unit: a year of a hundred models with five units each."""
BILLS_MAX: Final = 20_000
"""Imports that are there, the last that others replaced included: lists are made from all of them."""
BILLS_OF_TENANT_MAX: Final = 2_000
"""Of them those for one tenant, so that no tenant takes the others' places."""
BILLS_REPLACED_KEPT: Final = 20
"""Imports of a name that newer ones have replaced wholly: some days of asking an API: a wrong one can be undone."""
BILL_NAMES_MAX: Final = 200
"""Bills that stand at a time, by name: each is compared with the ledger by the clock and has a series in /metrics."""
BILL_NAMES_OF_TENANT_MAX: Final = 20
"""Of them those for one tenant."""
BILL_ALIASES_MAX: Final = 2_000
"""Names of models that one bill maps to the ledger's."""
BILL_PAGES_MAX: Final = 500
"""Pages that one provider is asked for: half a year of days, 31 a page at most, leaves room for pages of one day."""
BILL_PAGE_BYTES_MAX: Final = 32 * MIB
"""One page of a provider's answer."""
TWIN_CALLS_MAX: Final = 300_000
"""Calls among which one question looks for pairs: some seconds, and some hundred MB while they are compared."""
TWIN_EXAMPLES_MAX: Final = 50
"""Pairs that are shown one by one."""
RECONCILED_CELLS_MAX: Final = 50_000
"""Models times days that one reconciliation compares: some seconds."""
OTHER_UNIT_TRACES_MAX: Final = 100_000
"""Traces with searches and the like that one reconciliation reads one by one, where a bill names such units."""

# --- telling people ---------------------------------------------------------------------------------------------------
CHANNEL_ANSWER_BYTES_MAX: Final = 4_096
"""What is read of the answer to a notice: a few words that say what is wrong with it."""
CHANNELS_MAX: Final = 1_000
"""Channels that stand: each is looked at for every notice."""
CHANNELS_OF_TENANT_MAX: Final = 50
"""Of them those that people of one tenant made, so that no tenant takes the others' places."""
ROUTES_MAX: Final = 2_000
"""Routes that stand: each is looked at for every notice."""
ROUTES_OF_TENANT_MAX: Final = 100
"""Of them those that people of one tenant made."""
ROUTE_WORDS_MAX: Final = 50
"""Channels, rules, kinds or labels that one route names, each."""
CHANNEL_HEADERS_MAX: Final = 20
"""Headers, or fields of an SMS, that one channel sends along."""
CHANNEL_TO_MAX: Final = 20
"""Recipients of one channel's mail: more of them are a list, which mail servers keep."""
CHANNEL_SECRET_CHARS_MAX: Final = 2_048
"""Longest header, password or field of a channel."""
DELIVERIES_WAITING_MAX: Final = 1_000
"""Deliveries that wait in one channel: alerts are grouped, so whoever has more unread has not looked for days; what comes beyond fails."""
DELIVERIES_WAITING_OF_TENANT_MAX: Final = 250
"""Of them those about one tenant in a channel of all tenants, so that nobody's rules keep the others' notices out of it."""
DELIVERY_THREADS: Final = 4
"""Attempts of one process at a time, one for a channel: a notice takes a tenth of a second, a channel that is away its time-out."""
DELIVERY_CLAIM_S: Final = 120.0
"""After this time an attempt whose process says nothing is made again by another: four times the longest that a request may take."""
MAIL_S_MAX: Final = 60.0
"""All steps of handing a mail to the server: well within a claim, so that nobody sends it a second time meanwhile."""
DELIVERY_BACKOFF_S: Final = 5.0
"""Delay before the second attempt; it doubles with each, up to `DELIVERY_BACKOFF_S_MAX`, and varies by half."""
DELIVERY_BACKOFF_S_MAX: Final = 3_600.0
"""Longest such delay: an address that is mended is told within the hour."""
FOCUS_GROUPS_MAX: Final = 20_000
"""Rows of one hour or day that a FOCUS export holds at a time, some 2 KiB each; what goes beyond is written in a further piece."""

LIVE_VIEWERS_MAX: Final = 20
"""Pages of one process on which charges come as they are booked: each asks the ledger once a second."""
LIVE_VIEWERS_OF_ONE_MAX: Final = 10
"""Such pages of one principal: half, so that nobody takes them all, and more than one browser opens at a time over HTTP/1.1 (six)."""
LIVE_STALL_S: Final = 30.0
"""A live page that takes nothing for so long is cut off, so that its place is free for others; there is something every second."""
LIVE_SEEN_MAX: Final = 1_000
"""Charges that a live page remembers, so that none is shown twice; ten times as many as one look can find."""
