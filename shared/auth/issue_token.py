"""Issues tokens: `python -m shared.auth.issue_token NAME SCOPE,SCOPE` prints a token, and its line for the token file.

With `--secret` it prints Secrets for the manifests of Knative: a token for the store's own functions, and the hash of
an operator's token, which goes to stderr.
"""

from __future__ import annotations

import hashlib
import secrets
import sys

from shared.auth.principal import SCOPES
from shared.auth.tokens import read_tokens

_MANIFEST = """\
apiVersion: v1
kind: Secret
metadata:
  name: datastore-tokens
stringData:
  tokens: |
    {service}
    {operator}
---
apiVersion: v1
kind: Secret
metadata:
  name: datastore-service
stringData:
  token: {token}
"""


def issue(name: str, scopes: str) -> tuple[str, str]:
    """Make a token; return it and its line.

    Raises:
        ValueError: the name or a scope cannot be used.
    """
    token = secrets.token_urlsafe(32)
    line = f"sha256:{hashlib.sha256(token.encode()).hexdigest()} {name} {scopes}"
    if not name or not read_tokens(line):
        raise ValueError("give a name without spaces")
    return token, line


def main(arguments: list[str]) -> int:
    """Run the command; return the exit code."""
    try:
        if arguments == ["--secret"]:
            token, service = issue("service", ",".join(sorted(SCOPES)))
            operator_token, operator = issue("operator", "read,write,operate")
            print(_MANIFEST.format(service=service, operator=operator, token=token), end="")
            print(f"the operator's token: {operator_token}", file=sys.stderr)
        else:
            print("\n".join(issue(*arguments)))
    except (TypeError, ValueError) as error:
        print(f"python -m shared.auth.issue_token NAME {','.join(sorted(SCOPES))}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
