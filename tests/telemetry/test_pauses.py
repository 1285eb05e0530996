"""No garbage is collected while a program imports."""

import subprocess
import sys

IN_THE_BLOCK = """
import gc
from contextlib import suppress
from three_pillars.pauses import no_collections

with suppress(ImportError), no_collections():
    assert not gc.isenabled()
    import nothing_of_this_name
assert gc.isenabled()
assert gc.get_freeze_count() > 1000
gc.disable()
with no_collections():
    pass
assert not gc.isenabled()
"""


def test_collections_resume_after_the_imports() -> None:
    """After the block, also after a failed import, garbage is collected if it was before."""
    subprocess.run([sys.executable, "-c", IN_THE_BLOCK], timeout=60, check=True)
