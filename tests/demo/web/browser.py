"""Finds the system's Chromium, for tests that use a page as a person does."""

import os
import shutil

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
REQUIRED = os.environ.get("BROWSER") == "required"
"""Whether a missing browser makes the tests fail instead of being skipped.

``.ci/run`` sets ``BROWSER=required`` where a browser is available.
"""
WHY_NOT = "no Chromium on PATH, which for example apt-get install chromium installs"
"""The reason why the tests are skipped."""
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
