"""Archives that lie elsewhere: what of them is where, and reading it."""
