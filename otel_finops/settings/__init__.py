"""One typed, frozen tree of settings, from one YAML file and the environment, all faults in one report."""

from otel_finops.settings.addresses import Address, parse_address
from otel_finops.settings.load import load
from otel_finops.settings.reference import SettingInfo, describe
from otel_finops.settings.tree import ApiToken, SenderToken, Settings

__all__ = ["Address", "ApiToken", "SenderToken", "SettingInfo", "Settings", "describe", "load", "parse_address"]
