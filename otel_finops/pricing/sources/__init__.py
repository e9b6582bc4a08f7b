"""Importers of price lists: each knows one publisher's format and unit, and gives rows in the price book's own form."""
