"""What the service tells about itself and the ledger: Prometheus metrics, and its own telemetry by OTLP."""
