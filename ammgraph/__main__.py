"""`python -m ammgraph`."""

import sys

from ammgraph.cli import main

sys.exit(main())
