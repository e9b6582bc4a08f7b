"""Alerts: what is worth telling people about spend, and its way to them; reads all rooms below and moves no money."""
