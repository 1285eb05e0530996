"""The folders of the demo command: the repository checkout, and the files of a run."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("DEMO_HOME") or Path(__file__).resolve().parents[2])
"""The root folder of the checkout, which contains ``services/``, ``config/`` and ``grafana/``.

The code of an editable installation is in the checkout itself, so the folder is found without a
setting. For any other installation, the environment variable ``DEMO_HOME`` must name the checkout.
"""

STATE = Path(os.environ.get("DEMO_STATE") or ROOT / ".demo")
"""The folder that contains all files of a run: data, logs and the launcher's state.

``make clean`` removes it.
"""
