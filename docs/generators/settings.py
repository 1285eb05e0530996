"""The page docs/reference/settings.md: every environment variable, its default and its rule."""

from collections.abc import Iterator

from docs.generators.tables import NOTE, code, table
from services.checkout.service import Settings as CheckoutSettings
from services.common.tail_sampling import TailSamplingSettings
from services.payment.service import Settings as PaymentSettings
from three_pillar_demo.local_store.process import Settings as StoreSettings
from three_pillar_demo.stack import ports
from three_pillar_demo.web.process import Settings as WebSettings
from three_pillars.environment import REFUSED_SUFFIXES
from three_pillars.settings import Settings
from three_pillars.surroundings import RULES
from three_pillars.variables import OpenTelemetryVariables

OURS: dict[str, type[Settings]] = {
    "checkout": CheckoutSettings,
    "payment": PaymentSettings,
    "Tail sampling: both services, the gateway and the web UI": TailSamplingSettings,
    "The local store": StoreSettings,
    "The web UI": WebSettings,
}
"""The headings of the page, each with the settings class of that process."""

PORT_PURPOSES = {
    ports.CHECKOUT: "checkout",
    ports.PAYMENT: "payment",
    ports.WEB: "the web UI",
    ports.STORE: "the local store: OTLP over HTTP",
    ports.STORE_GRPC: "the local store: OTLP over gRPC",
    ports.COLLECTOR: "the Collector: OTLP over HTTP",
    ports.COLLECTOR_GRPC: "the Collector: OTLP over gRPC",
    ports.COLLECTOR_HEALTH: "the Collector's health check",
    ports.COLLECTOR_METRICS: "the Collector's own metrics",
    ports.PROMETHEUS: "Prometheus",
    ports.ALERTMANAGER: "Alertmanager",
    ports.TEMPO: "Tempo",
    ports.TEMPO_GRPC: "Tempo: gRPC between its parts",
    ports.TEMPO_OTLP: "Tempo: OTLP over HTTP, from the Collector",
    ports.LOKI: "Loki",
    ports.LOKI_GRPC: "Loki: gRPC between its parts",
    ports.GRAFANA: "Grafana",
}

HEAD = f"""{NOTE}

# Settings

Every process reads its settings from environment variables when it starts. A blank value counts
as unset. A bad value ends the process with exit status 2 and one line that names the variable, the
value and what is allowed. `PAYMENT_FAILURE_RATE=0.5 make up` starts the demo with one changed
setting; `demo up` passes its environment on to every component.
"""

PORTS = """## Ports

The launcher, the web UI and every command obey these variables. A number that is set must be free.
Where a variable is not set and the default is in use, `demo up` takes the next free number, says
so, and records it for the other commands. In compose they set the ports that are published on the
host.
"""

COMMAND = """## The `demo` command

| variable | meaning |
|---|---|
| `DEMO_HOME` | the checkout of this repository, for an installation that is not editable |
| `DEMO_STATE` | the folder of data, logs and state; by default `.demo` in the checkout |
| `XDG_STATE_HOME` | where there is no checkout, the folder of the state folder |
| `DEMO_DRILLS` | a folder with drill files of your own |
| `GRAFANA_HOME` | the folder of a Grafana; the modes `full` and `cluster` then start it too |
| `GRAFANA_URL` | a running Grafana, for the tests in `tests/grafana/` |
| `TEMPO_HOST` and so on | the host of a component, 127.0.0.1 by default; set in all containers |
"""

OPENTELEMETRY = """## OpenTelemetry

The library honours the standard `OTEL_*` variables of the OpenTelemetry SDK. It validates each
value when the process starts, because the SDK ignores some bad values silently and ends with a
traceback on others. It also rejects values that the SDK accepts but that would lose data in this
pipeline, such as delta temporality. Where no default is given, the SDK's own default applies.
"""

SHELL_HEAD = """
## Other variables of your shell

Libraries and the Python interpreter of the services read these. A bad value of the first table ends
a service with exit status 2 and one line; `install()` raises `ConfigurationError`.
"""

SHELL = """
The others are obeyed, or have no effect. `tests/field/test_shell_variables.py` and
`tests/test_makefile.py` try them.
"""

SHELL_EFFECTS = {
    "`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in either case": (
        "Obeyed by exports to a remote receiver. None for loopback, for a host name without a "
        "dot, and for the commands of the demo."
    ),
    "`NETRC`, `~/.netrc`": "None. `OTEL_EXPORTER_OTLP_HEADERS` is the place for credentials.",
    "`FASTAPI_OTEL_AUTO_CONFIGURE`": (
        "None: `install()` sends all three signals itself, once and redacted."
    ),
    "`FORWARDED_ALLOW_IPS`": (
        "Obeyed: uvicorn takes the address of the caller from `X-Forwarded-For` if one of "
        "these proxies sent it."
    ),
    "`UVICORN_*`, `WEB_CONCURRENCY`, `GUNICORN_CMD_ARGS`": (
        "None for `python -m services.checkout`; obeyed if you run uvicorn or gunicorn yourself."
    ),
    "`PYTHONPATH`, `PYTHONHOME`, `PYTHONSAFEPATH`, `PYTHONINSPECT`, `PYTHONWARNINGS` and "
    "others that change which modules Python finds or how it ends": (
        "None under `make` and for the components of `demo up`, which do not get them."
    ),
    "`PYTHONDONTWRITEBYTECODE`, `PYTHONOPTIMIZE`, `PYTHONUTF8`, `PYTHONDEVMODE` and the "
    "other `PYTHON*`": "Obeyed by Python; log lines are UTF-8 in any case.",
    "`PIP_USER`, `PIP_TARGET`, `PIP_PREFIX`, `PIP_CONSTRAINT`, `UV_PYTHON` and others that "
    "change what is installed, or where": (
        "None under `make`. `PIP_INDEX_URL`, `PIP_CERT`, `UV_INDEX_URL` and their like are obeyed."
    ),
    "`TZ`, `LANG`, `LC_ALL`": "None: times are in UTC, and texts are UTF-8.",
    "`NO_COLOR`, `FORCE_COLOR`, `COLUMNS`, `TERM`": (
        "Obeyed by the output of `demo`; none for log lines."
    ),
    "`PROMETHEUS_MULTIPROC_DIR`, `PROMETHEUS_LEGACY_NAME_VALIDATION`, "
    "`PROMETHEUS_DISABLE_CREATED_SERIES`": "None: the instruments are OpenTelemetry's.",
    "`OTEL_EXPORTER_OTLP_INSECURE`, `OTEL_EXPORTER_PROMETHEUS_*`, `OTEL_LOG_LEVEL`, "
    "`OTEL_PYTHON_DISTRO`, `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`, "
    "`OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`": (
        "None: they belong to gRPC, to `opentelemetry-instrument`, and to FastAPI's own telemetry."
    ),
    "`GRPC_VERBOSITY`, `GRPC_TRACE`, `PYDANTIC_DISABLE_PLUGINS`, `WRAPT_DISABLE_EXTENSIONS`": (
        "Obeyed by these libraries; no record changes."
    ),
}
"""What variables of the shell do, by their names."""

OTHERS = """
Every other `OTEL_*` variable must be printable text on one line. Variables that begin with
`OTEL_PYTHON_` and end as follows are rejected:
"""


def page() -> str:
    """Return the text of docs/reference/settings.md."""
    parts = [HEAD]
    for heading, settings in OURS.items():
        parts.append(f"## {heading}\n\n{_table(settings)}\n")
    parts += [PORTS, _ports_table(), COMMAND, OPENTELEMETRY, _table(OpenTelemetryVariables), OTHERS]
    suffixes = [(code(f"OTEL_PYTHON_*{end}"), text) for end, text in REFUSED_SUFFIXES.items()]
    parts.append(table(("variable", "allowed"), suffixes))
    rules = [(code(name), allowed) for name, (_, allowed) in RULES.items()]
    parts += [SHELL_HEAD, table(("variable", "allowed"), rules), SHELL]
    parts.append(table(("variable", "effect"), SHELL_EFFECTS.items()))
    return "\n".join(parts) + "\n"


def variables() -> set[str]:
    """Return the names of all variables in ``OURS`` and of all ports, without former names."""
    variables = {port.variable for port in ports.ALL}
    for settings in OURS.values():
        variables |= {settings.variable(name) for name in settings.model_fields}
    return variables


def _ports_table() -> str:
    rows = [(code(port.variable), str(port.default), PORT_PURPOSES[port]) for port in ports.ALL]
    return table(("variable", "default", "what listens there"), rows) + "\n"


def _table(settings: type[Settings]) -> str:
    return table(("variable", "default", "meaning, and what is allowed"), _rows(settings))


def _rows(settings: type[Settings]) -> Iterator[tuple[str, str, str]]:
    former_names: dict[str, list[str]] = {}
    for former, current in settings.former_variables():
        former_names.setdefault(current, []).append(former)
    for name, field in settings.model_fields.items():
        variable = settings.variable(name)
        text = field.description or ""
        if variable in former_names:
            names = ", ".join(map(code, former_names[variable]))
            text += f". Former name, accepted for one release: {names}"
        default = "" if field.default is None else str(field.default)
        yield code(variable), code(default), text
