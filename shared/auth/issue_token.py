"""Issues tokens: `python -m shared.auth.issue_token NAME SCOPE,SCOPE` prints a token, and its line for the token file.

With `--secret` it prints Secrets for the manifests of Knative: one with the hashes of all tokens, and one for each
function that sends requests to others. The operator's token goes to stderr.
"""

from __future__ import annotations

import hashlib
import secrets
import sys

from shared.auth.principal import CLEANALL, COMMIT, FREEZE, READ, RELAY, SCOPES
from shared.auth.tokens import read_tokens

SCOPES_OF_FUNCTIONS = {
    "ingest": f"{COMMIT},{RELAY}",
    "freeze": f"{FREEZE},{RELAY}",
    "cleanall": f"{CLEANALL},{RELAY}",
    # What these two write and decide, they do with their clients' own credentials.
    "logic": READ,
    "glitchflow": READ,
}

_MANIFEST = """\
apiVersion: v1
kind: Secret
metadata:
  name: {name}
stringData:
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


def secrets_for_manifests() -> tuple[str, str]:
    """Make a token for each function and one for an operator; return the Secrets as YAML, and the operator's token."""
    operator_token, operator = issue("operator", "read,write,operate")
    issued = {name: issue(name, scopes) for name, scopes in SCOPES_OF_FUNCTIONS.items()}
    lines = [operator, *(line for _, line in issued.values())]
    documents = [
        _MANIFEST.format(name="datastore-tokens") + "  tokens: |\n" + "".join(f"    {line}\n" for line in lines),
        *(
            _MANIFEST.format(name=f"datastore-service-{name}") + f"  token: {token}\n"
            for name, (token, _) in issued.items()
        ),
    ]
    return "---\n".join(documents), operator_token


def main(arguments: list[str]) -> int:
    """Run the command; return the exit code."""
    try:
        if arguments == ["--secret"]:
            manifest, operator_token = secrets_for_manifests()
            print(manifest, end="")
            print(f"the operator's token: {operator_token}", file=sys.stderr)
        else:
            print("\n".join(issue(*arguments)))
    except (TypeError, ValueError) as error:
        print(f"python -m shared.auth.issue_token NAME {','.join(sorted(SCOPES))}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
