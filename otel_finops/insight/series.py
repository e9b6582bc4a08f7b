"""Spend as a series in time: sums per day or hour, pieces in which nothing was spent included."""
