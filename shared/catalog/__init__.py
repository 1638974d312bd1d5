"""Strain by GPS time, over the open batch and the archives."""
