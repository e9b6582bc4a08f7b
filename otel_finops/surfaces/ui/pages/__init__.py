"""The console's pages, a module a room; importing this registers them all."""

from otel_finops.surfaces.ui.pages import overview as overview  # isort: skip
from otel_finops.surfaces.ui.pages import explore as explore  # isort: skip
from otel_finops.surfaces.ui.pages import live as live  # isort: skip
from otel_finops.surfaces.ui.pages import traces as traces  # isort: skip
from otel_finops.surfaces.ui.pages import runs as runs  # isort: skip
from otel_finops.surfaces.ui.pages import sessions as sessions  # isort: skip
from otel_finops.surfaces.ui.pages import usage as usage  # isort: skip
from otel_finops.surfaces.ui.pages import budgets as budgets  # isort: skip
from otel_finops.surfaces.ui.pages import prices as prices  # isort: skip
from otel_finops.surfaces.ui.pages import price_rules as price_rules  # isort: skip
from otel_finops.surfaces.ui.pages import subscriptions as subscriptions  # isort: skip
from otel_finops.surfaces.ui.pages import alerts as alerts  # isort: skip
from otel_finops.surfaces.ui.pages import channels as channels  # isort: skip
from otel_finops.surfaces.ui.pages import jobs as jobs  # isort: skip
from otel_finops.surfaces.ui.pages import audit as audit  # isort: skip
from otel_finops.surfaces.ui.pages import tokens as tokens  # isort: skip
from otel_finops.surfaces.ui.pages import system as system  # isort: skip
from otel_finops.surfaces.ui.pages import chargeback as chargeback  # isort: skip
from otel_finops.surfaces.ui.pages import reconciliation as reconciliation  # isort: skip
from otel_finops.surfaces.ui.pages import exports as exports  # isort: skip
from otel_finops.surfaces.ui.pages import forecast as forecast  # isort: skip
from otel_finops.surfaces.ui.pages import anomalies as anomalies  # isort: skip
from otel_finops.surfaces.ui.pages import efficiency as efficiency  # isort: skip
from otel_finops.surfaces.ui.pages import whatif as whatif  # isort: skip
from otel_finops.surfaces.ui.pages import footprint as footprint  # isort: skip
