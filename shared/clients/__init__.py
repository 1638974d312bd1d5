"""HTTP to other functions, to the broker, to the event sink and to issuers of tokens."""
