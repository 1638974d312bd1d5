"""Servers: `python -m shared.serve` runs one function."""
