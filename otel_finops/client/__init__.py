"""What an application imports: it asks the service before a call is made, and tells it what calls came to.

Import what you need from the module that has it (`docs/client.md`); this file imports nothing, so that `opentelemetry-instrument` loads
only what it uses.
"""
