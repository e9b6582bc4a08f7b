"""Who sends and who looks: senders' credentials, principals, roles."""
