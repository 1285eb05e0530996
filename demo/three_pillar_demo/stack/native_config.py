"""Writes the configuration of Prometheus and Alertmanager for a native run.

Neither of them expands environment variables in its configuration, and the addresses in
``config/targets/`` are those of containers. So the launcher copies the files into the state folder
and writes the addresses of this run.
"""

from pathlib import Path

from three_pillar_demo.paths import ROOT, STATE
from three_pillar_demo.stack import ports

CONFIG = STATE / "config"
"""The folder of the copies. The paths in it are the same as in the checkout."""
TARGETS = "config/targets/"
COPIED = ("prometheus.yml", "config/alerts.yml", "config/alertmanager.yml")


def write(folder: Path = CONFIG) -> None:
    """Write the copies below ``folder``, with the ports of this run.

    Raises:
        OSError: A file cannot be read or written.
    """
    addresses = {
        "alertmanager.yml": f'- targets: ["{ports.LOOPBACK}:{ports.ALERTMANAGER.number}"]\n',
        "alert_webhook.url": f"{ports.WEB.url}/alerts\n",
    }
    (folder / TARGETS).mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        text = (ROOT / name).read_text()
        # Alertmanager looks for a relative path in its working directory, which is the checkout.
        (folder / name).write_text(text.replace(TARGETS, f"{folder / TARGETS}/"))
    for name, text in addresses.items():
        (folder / TARGETS / name).write_text(text)
