"""`python -m port42_cli` is `port42`."""

import sys

from port42_cli.app import main

sys.exit(main())
