"""The system's Chromium, for tests that look at a page as a person does."""

import os
import shutil

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
REQUIRED = os.environ.get("BROWSER") == "required"
"""Whether it is a failure that there is none; ``.ci/run`` says so where it can have one."""
WHY_NOT = "no Chromium on PATH: apt-get install chromium, or the like"
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
