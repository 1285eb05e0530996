"""Finds the system's Chromium, for tests that use a page as a person does."""

import os
import shutil

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The names of the browser, the best first: without a user interface it needs a fifth of the time
of the processor."""
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
REQUIRED = os.environ.get("BROWSER") == "required"
"""Whether a missing browser makes the tests fail instead of being skipped.

``.ci/run`` sets ``BROWSER=required`` where a browser is available.
"""
WHY_NOT = "no Chromium on PATH: apt-get install chromium-headless-shell, for example, installs it"
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
