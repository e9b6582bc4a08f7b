"""The append-only ledger: journal, settling, entries, blocks, roll-ups, exports."""
