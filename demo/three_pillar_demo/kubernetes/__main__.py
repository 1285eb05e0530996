"""``python -m three_pillar_demo.kubernetes up`` and ``down``, which `make` calls."""

import sys

from three_pillar_demo.kubernetes import run
from three_pillar_demo.kubernetes.cluster import ClusterError
from three_pillar_demo.stack import ports


def main(arguments: list[str]) -> int:
    """Run the command in ``arguments``; return the exit code."""
    try:
        ports.validate()
        if arguments == ["up"]:
            return 0 if run.up(report, run.verify_here) else 1
        if arguments == ["down"]:
            run.down(report)
            return 0
    except (ClusterError, ports.PortError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stderr.write("usage: python -m three_pillar_demo.kubernetes up|down\n")
    return 2


def report(line: str) -> None:
    """Print ``line``, without buffering."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
