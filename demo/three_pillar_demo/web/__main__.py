"""Starts the web UI as a process."""

import sys

from three_pillars.pauses import no_collections

with no_collections():
    from three_pillar_demo.web import process

if __name__ == "__main__":
    sys.exit(process.main())
