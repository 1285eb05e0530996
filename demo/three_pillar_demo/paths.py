"""The folders of the demo command: the repository checkout, and the files of a run."""

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

APPLICATION = "three-pillar-demo"
"""The name of the folder in the user's state folder."""
CODE_PARENT = Path(__file__).resolve().parents[2]
"""The folder above ``demo/`` in a checkout; in an installation, the folder above site-packages."""


class NoCheckoutError(Exception):
    """A command needs a checkout of the repository; the message says how to name one."""


def find_checkout(environment: Mapping[str, str], code_parent: Path) -> Path | None:
    """Return the root folder of the checkout, or None if there is none.

    The variable ``DEMO_HOME`` in ``environment`` names it. Without the variable it is
    ``code_parent``, if that is a checkout: the code of an editable installation is in the checkout
    itself.
    """
    home = environment.get("DEMO_HOME", "").strip()
    folder = Path(home).expanduser().absolute() if home else code_parent
    return folder if (folder / "services" / "checkout").is_dir() else None


def find_state(environment: Mapping[str, str], checkout: Path | None) -> Path:
    """Return the folder for the files of a run, which need not exist.

    It is the value of the variable ``DEMO_STATE`` in ``environment``, or else ``.demo`` in the
    checkout. Without a checkout it is in the user's state folder, which ``XDG_STATE_HOME`` names.
    """
    folder = environment.get("DEMO_STATE", "").strip()
    if folder:
        return Path(folder).expanduser().absolute()
    if checkout:
        return checkout / ".demo"
    return platformdirs.user_state_path(APPLICATION, appauthor=False).absolute()


CHECKOUT = find_checkout(os.environ, CODE_PARENT)
"""The root folder of the checkout, which contains ``services/``, ``config/`` and ``grafana/``.

It is None for an installation without a checkout (docs/decisions/0025-one-wheel.md).
"""

STATE = find_state(os.environ, CHECKOUT)
"""The folder that contains all files of a run: data, logs and the launcher's state.

``make clean`` removes the one in a checkout.
"""

ROOT = CHECKOUT or STATE
"""The working folder of the components: the checkout, or the state folder where there is none."""


def absolute_path(path: str) -> str:
    """Return ``path`` as an absolute path; "" stays "".

    The components, and a launcher in the background, run in another working folder.
    """
    return str(Path(path).absolute()) if path else ""


def create_state_folder() -> None:
    """Create ``STATE`` if it does not exist, readable by this user only: it contains telemetry.

    Raises:
        OSError: The folder cannot be created.
    """
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)


def require_checkout(command: str) -> None:
    """Check that there is a checkout.

    Raises:
        NoCheckoutError: There is none. The message names ``command``, which needs it.
    """
    if CHECKOUT:
        return
    home = os.environ.get("DEMO_HOME", "").strip()
    reason = f"DEMO_HOME={home} is none" if home else "set DEMO_HOME to its folder"
    raise NoCheckoutError(f"`demo {command}` needs a clone of the repository: {reason}")
