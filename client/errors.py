"""What can go wrong for a user of gwclient, each with the exit code of the command.

0 is success, 2 a wrong command line (argparse's), 130 an interruption.
"""

from __future__ import annotations


class ClientError(Exception):
    """Base of every error whose text is all the user needs; there is no traceback."""

    exit_code = 1


class WrongState(ClientError):
    """The store is frozen, or does not freeze yet."""

    exit_code = 3


class Unreachable(ClientError):
    """The store, or the internet, does not answer."""

    exit_code = 4


class Refused(ClientError):
    """The store understood and said no; trying again cannot help."""

    exit_code = 5


class NoData(ClientError):
    """There is no such event, detector, file or strain."""

    exit_code = 6
