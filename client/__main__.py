"""`python -m client` is `gwclient`."""

import sys

from client.cli import main

sys.exit(main())
