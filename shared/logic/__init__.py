"""Datastore Logic: the Data Buffer with a freeze policy in front of it."""
