"""A command together with what its instrumentation needs."""

from dataclasses import dataclass, field

from three_pillar_demo.run_program.variables import HTTP


@dataclass(frozen=True)
class Instrumented:
    """A command with what its instrumentation needs.

    Attributes:
        command: The words of the command to run.
        by: What instruments the program; empty if nothing is known to.
        problem: Why the program is not instrumented, and what to do; otherwise empty.
        variables: Variables to set, also where the user has set them.
        protocol: The OTLP protocol that the program can use.
    """

    command: list[str]
    by: str = ""
    problem: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    protocol: str = HTTP


def how_to_install(commands: str) -> str:
    """Return the text that tells how to install OpenTelemetry by the shell command ``commands``."""
    return f"not instrumented, because OpenTelemetry is not installed for it. To do so: {commands}"
