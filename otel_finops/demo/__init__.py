"""Traffic to look at: three small agent applications with stock instrumentations, and a model provider that runs locally."""
