"""`python -m ticketkit`: the command line."""

import sys

from ticketkit.cli import main

sys.exit(main())
