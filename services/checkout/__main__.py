"""Run checkout: ``python -m services.checkout``."""

import sys

from services.common import startup

if __name__ == "__main__":
    sys.exit(startup.run("services.checkout.service"))
