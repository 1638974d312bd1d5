"""HTTP to other functions, to the broker and to issuers of tokens."""
