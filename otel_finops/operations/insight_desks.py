"""What the operations on insight and alerting ask of the rooms below: one protocol for each desk."""
