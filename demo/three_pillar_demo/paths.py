"""The folders that the demo command reads and writes."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("DEMO_HOME") or Path(__file__).resolve().parents[2])
"""The checkout of the repository: the services, the configuration files and ``grafana/`` are found below it.

An installation that is not editable has no checkout beside it and names one in ``DEMO_HOME``.
"""
