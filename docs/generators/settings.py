"""The page docs/reference/settings.md: every environment variable, its default and its rule."""

from collections.abc import Iterator

from docs.generators.tables import NOTE, code, table
from services.checkout.service import Settings as CheckoutSettings
from services.payment.service import Settings as PaymentSettings
from three_pillar_demo.local_store.__main__ import Settings as StoreSettings
from three_pillar_demo.web.__main__ import Settings as WebSettings
from three_pillars.environment import REFUSED_SUFFIXES
from three_pillars.settings import Settings
from three_pillars.variables import OpenTelemetryVariables

OURS: dict[str, type[Settings]] = {
    "checkout": CheckoutSettings,
    "payment": PaymentSettings,
    "The local store": StoreSettings,
    "The web UI": WebSettings,
}
"""The headings of the page, each with the settings class of that process."""

HEAD = f"""{NOTE}

# Settings

Every process reads its settings from environment variables when it starts. A blank value counts
as unset. A bad value ends the process with exit status 2 and one line that names the variable, the
value and what is allowed. `PAYMENT_FAILURE_RATE=0.5 make up` starts the demo with one changed
setting; `demo up` passes its environment on to every component.
"""

COMMAND = """## The `demo` command

| variable | meaning |
|---|---|
| `DEMO_HOME` | the checkout of this repository, for an installation that is not editable |
| `DEMO_DRILLS` | a folder with drill files of your own |
| `GRAFANA_HOME` | the folder of a Grafana installation; full mode then starts Grafana too |
| `GRAFANA_URL` | a running Grafana, for the tests in `tests/grafana/` |
| `TEMPO_HOST` and so on | the host of a component, 127.0.0.1 by default; compose sets it |
"""

OPENTELEMETRY = """## OpenTelemetry

The library honours the standard `OTEL_*` variables of the OpenTelemetry SDK. It validates each
value when the process starts, because the SDK ignores some bad values silently and ends with a
traceback on others. It also rejects values that the SDK accepts but that would lose data in this
pipeline, such as delta temporality. Where no default is given, the SDK's own default applies.
"""

OTHERS = """
Every other `OTEL_*` variable must be printable text on one line. Variables that begin with
`OTEL_PYTHON_` and end as follows are rejected:
"""


def page() -> str:
    """Return the text of docs/reference/settings.md."""
    parts = [HEAD]
    for heading, settings in OURS.items():
        parts.append(f"## {heading}\n\n{_table(settings)}\n")
    parts += [COMMAND, OPENTELEMETRY, _table(OpenTelemetryVariables), OTHERS]
    suffixes = [(code(f"OTEL_PYTHON_*{end}"), text) for end, text in REFUSED_SUFFIXES.items()]
    parts.append(table(("variable", "allowed"), suffixes))
    return "\n".join(parts) + "\n"


def variables() -> set[str]:
    """Return the names of all environment variables in ``OURS``, without former names."""
    return {settings.variable(name) for settings in OURS.values() for name in settings.model_fields}


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
