"""`python -m gwclient`, and the entry point of the command `gwclient`."""

import os
import sys
from typing import NoReturn

from gwclient.cli import main


def run() -> NoReturn:
    """Run the command and exit with its code, without finalizing the interpreter.

    A thread of the HTTP library may still be releasing objects then; measured, it aborted one in seven such processes.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads for algebra spin when they start
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
