"""Starts the local store as a process: checks the environment first, then runs ``process``.

The libraries of the store read variables when they are imported, and some values would end the
process with a traceback, or without any reason. So they are imported after the check.
"""

import os
import sys

from three_pillars.pauses import no_collections

with no_collections():
    from three_pillars import surroundings

PROTOBUF_VARIABLE = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
GRPC_VARIABLE = "GRPC_POLL_STRATEGY"
"""How gRPC waits for events: with a value that it does not know it ends the process. The default
is right for the store, which therefore does not obey the variable."""
USAGE_ERROR = 2


def main() -> int:
    """Run the local store until SIGTERM or SIGINT, and return the exit code of ``process.main``.

    The exit code is also 2 if a variable of the libraries is invalid.
    """
    problems = surroundings.problems([PROTOBUF_VARIABLE])
    if problems:
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        return USAGE_ERROR
    surroundings.remove_blank()
    os.environ.pop(GRPC_VARIABLE, None)
    with no_collections():
        from three_pillar_demo.local_store import process  # noqa: PLC0415  (after the check)

    return process.main()


if __name__ == "__main__":
    sys.exit(main())
