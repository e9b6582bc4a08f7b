"""Streams of rows as bytes: JSON lines, CSV and Parquet, the same for the API and the command line."""
