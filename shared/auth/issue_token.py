"""Makes tokens: `python -m shared.auth.issue_token NAME SCOPE,SCOPE` prints one and its line for the token file.

With `--secret` it prints the Secrets that the manifests for Knative mount instead: for the store's own functions, and
for one operator, whose token is on stderr.
"""

from __future__ import annotations

import hashlib
import secrets
import sys

from shared.auth.guard import read_tokens
from shared.auth.principal import SCOPES

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
    """A new token and its line.

    Raises:
        ValueError: the name or a scope cannot be used.
    """
    token = secrets.token_urlsafe(32)
    line = f"sha256:{hashlib.sha256(token.encode()).hexdigest()} {name} {scopes}"
    if not name or not read_tokens(line):
        raise ValueError("a name without spaces is needed")
    return token, line


def main(arguments: list[str]) -> int:
    """Print what was asked for; the exit code."""
    try:
        if arguments == ["--secret"]:
            token, service = issue("service", ",".join(sorted(SCOPES)))
            operators, operator = issue("operator", "read,write,operate")
            print(_MANIFEST.format(service=service, operator=operator, token=token), end="")
            print(f"the operator's token: {operators}", file=sys.stderr)
        else:
            print("\n".join(issue(*arguments)))
    except (TypeError, ValueError) as error:
        print(f"python -m shared.auth.issue_token NAME {','.join(sorted(SCOPES))}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
