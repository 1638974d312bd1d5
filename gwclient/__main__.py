"""`python -m gwclient` runs the command `gwclient`."""

import sys

from gwclient.cli import main

sys.exit(main())
