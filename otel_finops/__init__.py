"""OpenTelemetry-native ledger and governor of AI spend."""
