"""The errors of gwclient, each with the exit code of the command.

ClientError           1
├── WrongState        3
├── Unreachable       4
├── Refused           5
└── NoData            6

0 is success, 2 a command line that argparse refuses, 130 an interruption.
"""

from __future__ import annotations


class ClientError(Exception):
    """Base of every error whose text tells the user what to do; it is printed without a traceback."""

    exit_code = 1


class WrongState(ClientError):
    """The store is frozen, does not freeze yet, or has another batch open than was meant."""

    exit_code = 3


class Unreachable(ClientError):
    """The store, or the internet, does not answer."""

    exit_code = 4


class Refused(ClientError):
    """The store refuses the request; sending it again cannot help."""

    exit_code = 5


class NoData(ClientError):
    """There is no such event, detector, file or strain."""

    exit_code = 6
