"""The vocabulary of the product: spans, money, time, ids, errors, limits. Standard library only."""
