"""Projections of the operations: the HTTP API and the command line. They do not know each other."""
