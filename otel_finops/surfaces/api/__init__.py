"""The HTTP API: routes made from the operations, problems, and the page that says what runs here."""
