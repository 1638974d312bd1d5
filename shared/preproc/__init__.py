"""Spectrograms of a frozen batch, made in a process of their own."""
