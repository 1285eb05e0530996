"""Run payment: ``python -m services.payment``."""

import sys

from services.common import startup

if __name__ == "__main__":
    sys.exit(startup.run("services.payment.service"))
