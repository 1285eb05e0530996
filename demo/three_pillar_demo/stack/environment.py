"""The environment variables of each component, and which variables of the user have no effect."""

import os
from collections.abc import Mapping
from pathlib import Path
from string import Template

from three_pillar_demo.paths import CHECKOUT, ROOT, STATE, absolute_path
from three_pillar_demo.stack import ports, state
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.components import MODES, ONE_MACHINE, SERVICES
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

TAIL_SAMPLING = "TAIL_SAMPLING_"
SERVICE_NAMES = {service.name for service in SERVICES}
CLUSTER_DEFAULTS = {
    "CHECKOUT_WORKERS": "2",
    "PAYMENT_WORKERS": "2",
    "TAIL_SAMPLING_PERCENTAGE": "10",
}
"""Settings of the modes ``cluster`` that a variable of the user may replace."""

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
    if component.name in SERVICE_NAMES:
        not_inherited = set(unused_exporter_variables())
    else:
        # Tempo and Loki read OTEL_* variables and would trace themselves, into the Collector. The
        # local store is a receiver and exports nothing.
        not_inherited = {name for name in os.environ if name.startswith("OTEL_")}
    not_inherited |= {port.former_variable for port in ports.ALL} | INTERPRETER_VARIABLES
    if state.mode() in state.CLUSTER_MODES:
        not_inherited |= _blank_settings()
    environment = with_absolute_paths(os.environ)
    if not _is_found_by(environment.get("PYTHONPATH", "")):
        not_inherited.add("PYTHONPATH")
    inherited = {name: value for name, value in environment.items() if name not in not_inherited}
    variables = _defaults() | inherited | _addresses_and_folders() | _settings_of(component)
    # A variable may stand for another one, as in the command of a component.
    own = {
        name: Template(value).safe_substitute(variables)
        for name, value in component.environment.items()
    }
    return variables | own


def tail_sampling_variables() -> dict[str, str]:
    """Return the variables ``TAIL_SAMPLING_*`` of the modes ``cluster``: the user's or the default.

    Services and gateways read the same variables.
    """
    blank = _blank_settings()
    set_by_user = {name: value for name, value in os.environ.items() if name not in blank}
    values = CLUSTER_DEFAULTS | set_by_user
    return {name: value for name, value in values.items() if name.startswith(TAIL_SAMPLING)}


def _blank_settings() -> set[str]:
    """Return the settings of the modes ``cluster`` whose variables are set to nothing.

    They count as unset. The services and the Collector would not take them for the same value.
    """
    return {
        name
        for name, value in os.environ.items()
        if (name in CLUSTER_DEFAULTS or name.startswith(TAIL_SAMPLING)) and not value.strip()
    }


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
    defaults = {
        "CHECKOUT_PAYMENT_URL": ports.PAYMENT.url,
        "WEB_GRAFANA_URL": ports.GRAFANA.url,
        "PYTHONUNBUFFERED": "1",
    }
    if state.mode() in state.CLUSTER_MODES:
        defaults |= CLUSTER_DEFAULTS
    return defaults


def _addresses_and_folders() -> dict[str, str]:
    # The folder may depend on the working folder or on variables of the user.
    variables = {"BIND_ADDRESS": LOOPBACK, "DEMO_STATE": str(STATE)}
    for port in ports.ALL:
        variables[port.variable] = str(port.number)
    components = [component for mode in ONE_MACHINE.values() for component in mode]
    components += MODES.get(state.mode() or "", ())
    for component in components:
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
    if component.name not in SERVICE_NAMES:
        return {}
    receiver, _ = ports.otlp_receivers(state.mode())
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    bind_address = os.environ.get(f"{component.variable_prefix}_BIND") or LOOPBACK
    if bind_address == LOOPBACK:  # On any other address the service would refuse this setting.
        fault_file = STATE / "drill" / f"{component.name}.fault"
        settings[f"{component.variable_prefix}_DRILLS"] = str(fault_file)
    return settings
