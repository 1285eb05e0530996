"""The environment variables of each component, and which variables of the user have no effect."""

import os
from collections.abc import Mapping
from pathlib import Path

from three_pillar_demo.paths import CHECKOUT, ROOT, STATE, absolute_path
from three_pillar_demo.stack import ports, state
from three_pillar_demo.stack.components import BY_NAME, SERVICES, Component
from three_pillar_demo.stack.ports import LOOPBACK

OTLP = "OTEL_EXPORTER_OTLP_"
CONNECTION_SUFFIXES = (
    "ENDPOINT",
    "HEADERS",
    "PROTOCOL",
    "CERTIFICATE",
    "CLIENT_KEY",
    "INSECURE",
)
"""The ends of the OTLP exporters' variables that say where and how to connect."""

SEARCH_PATHS = {"PATH", "PYTHONPATH"}
"""The variables with folders in which programs and modules are searched."""
FOLDERS = {"GRAFANA_HOME", "XDG_CACHE_HOME"}
"""The variables with one folder, in which the launcher finds executables."""
INTERPRETER_VARIABLES = {
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPLATLIBDIR",
    "PYTHONSAFEPATH",
    "PYTHONSTARTUP",
    "PYTHONVERBOSE",
    "PYTHONWARNINGS",
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION",
    "GRPC_POLL_STRATEGY",
}
"""Variables for other programs of the user, with which a component could fail or not start.

``PYTHONPATH`` is one too, unless this package itself was found through it.
"""


def with_absolute_paths(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` with absolute paths, for a process with another working folder.

    The variables are those with which programs, modules and the checkout are found.
    """
    variables = dict(environment)
    if CHECKOUT:
        variables["DEMO_HOME"] = str(CHECKOUT)
    for name in SEARCH_PATHS & variables.keys():
        folders = [absolute_path(folder) for folder in variables[name].split(os.pathsep)]
        variables[name] = os.pathsep.join(folders)
    for name in FOLDERS & variables.keys():
        variables[name] = absolute_path(variables[name])
    return variables


def variables_of(component: Component) -> dict[str, str]:
    """Return the environment variables with which ``component`` runs.

    ``component`` inherits the variables of this process. Added variables put every component on
    loopback, on the ports of this run, with its data folder below ``STATE``. Variables that begin
    with ``OTEL_`` are inherited only by the services, without those that would send their telemetry
    elsewhere.

    Raises:
        ports.PortError: A variable of a port is not a port number.
    """
    if component in SERVICES:
        not_inherited = set(unused_exporter_variables())
    else:
        # Tempo and Loki read OTEL_* variables and would trace themselves, into the Collector. The
        # local store is a receiver and exports nothing.
        not_inherited = {name for name in os.environ if name.startswith("OTEL_")}
    not_inherited |= {port.former_variable for port in ports.ALL} | INTERPRETER_VARIABLES
    environment = with_absolute_paths(os.environ)
    if not _is_found_by(environment.get("PYTHONPATH", "")):
        not_inherited.add("PYTHONPATH")
    inherited = {name: value for name, value in environment.items() if name not in not_inherited}
    return _defaults() | inherited | _addresses_and_folders() | _settings_of(component)


def _is_found_by(python_path: str) -> bool:
    """Return whether ``python_path`` has the folder from which this package is imported."""
    return str(Path(__file__).parents[2]) in python_path.split(os.pathsep)


def unused_exporter_variables() -> list[str]:
    """Return the variables of this process that name another receiver of telemetry, sorted.

    The launcher does not pass them on: telemetry of the demo never leaves the demo.
    """
    return sorted(
        name for name in os.environ if name.startswith(OTLP) and name.endswith(CONNECTION_SUFFIXES)
    )


def _defaults() -> dict[str, str]:
    """Return the settings that a variable of the user may replace."""
    return {
        "CHECKOUT_PAYMENT_URL": ports.PAYMENT.url,
        "WEB_GRAFANA_URL": ports.GRAFANA.url,
        "PYTHONUNBUFFERED": "1",
    }


def _addresses_and_folders() -> dict[str, str]:
    # The folder may depend on the working folder or on variables of the user.
    variables = {"BIND_ADDRESS": LOOPBACK, "DEMO_STATE": str(STATE)}
    for port in ports.ALL:
        variables[port.variable] = str(port.number)
    for component in BY_NAME.values():
        variables |= {port.variable: str(port.number) for port in component.ports}
        variables[f"{component.variable_prefix}_HOST"] = LOOPBACK
        variables[f"{component.variable_prefix}_DATA"] = str(component.data)
    return variables


def _settings_of(component: Component) -> dict[str, str]:
    if component.name == "grafana":
        return {
            "GF_PATHS_DATA": str(component.data),
            "GF_PATHS_PROVISIONING": str(ROOT / "grafana" / "provisioning"),
            "GRAFANA_DASHBOARDS": str(ROOT / "grafana" / "dashboards"),
        }
    if component not in SERVICES:
        return {}
    receiver, _ = ports.otlp_receivers(state.mode())
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    bind_address = os.environ.get(f"{component.variable_prefix}_BIND") or LOOPBACK
    if bind_address == LOOPBACK:  # On any other address the service would refuse this setting.
        fault_file = STATE / "drill" / f"{component.name}.fault"
        settings[f"{component.variable_prefix}_DRILLS"] = str(fault_file)
    return settings
