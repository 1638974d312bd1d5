"""The storage engine: journal, decisions, recovery, archives."""
