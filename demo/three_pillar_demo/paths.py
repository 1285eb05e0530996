"""The location of the repository checkout that the demo command works in."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("DEMO_HOME") or Path(__file__).resolve().parents[2])
"""The root of the checkout: ``services/``, the configuration files and ``grafana/`` are below it.

Only an editable installation has a checkout around it. Any other installation names the checkout in
``DEMO_HOME``.
"""
