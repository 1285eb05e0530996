"""Environment variables: a valid value takes effect, and an invalid one is refused at the start."""

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
import yaml
from requests.adapters import BaseAdapter

import three_pillar_demo
from services.checkout.service import Settings as CheckoutSettings
from services.payment.service import Settings as PaymentSettings
from tests.field.post_server import run_post_server
from tests.forked_programs import fork_server
from tests.processes import (
    InMemoryCollector,
    run_collector,
    running_shop,
    serve,
    status_of,
    wait_for,
)
from three_pillar_demo.local_store.process import Settings as StoreSettings
from three_pillar_demo.web.process import Settings as WebSettings
from three_pillars import ConfigurationError, environment
from three_pillars.export.session import RetryingSession, otlp_session
from three_pillars.settings import Settings
from three_pillars.variables import OpenTelemetryVariables

SECRET = "geheim"  # noqa: S105  (a stand-in)
SIGNALS = ("TRACES", "METRICS", "LOGS")
PATHS = {"traces": "/v1/traces", "metrics": "/v1/metrics", "logs": "/v1/logs"}
KEYS = ",".join(f"key{number}=value" for number in range(64))
CHARGE: dict[str, object] = {
    "order_id": "one",
    "amount": "1",
    "currency": "EUR",
    "card": "ordinary",
}
LONG_EXPORT_INTERVALS = dict.fromkeys(
    ("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"),
    "600000",
)

# --- Values that are refused: (variables, what the line says after the first one's name) ---

REFUSED: dict[str, tuple[dict[str, str], str]] = {
    # Otherwise no log line could be assigned to a request.
    "no propagator": (
        {"OTEL_PROPAGATORS": "none"},
        "=none: allowed is tracecontext, baggage or both",
    ),
    "propagator that is not installed": ({"OTEL_PROPAGATORS": "b3"}, "=b3: allowed is"),
    "propagator among others": (
        {"OTEL_PROPAGATORS": "tracecontext,jaeger"},
        "=tracecontext,jaeger: allowed is",
    ),
    "unknown exemplar filter": (
        {"OTEL_METRICS_EXEMPLAR_FILTER": "sometimes"},
        "=sometimes: allowed is always_on,",
    ),
    "length with a unit": (
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "8k"},
        "=8k: allowed is a whole number",
    ),
    "negative length for spans": (
        {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "-1"},
        "=-1: allowed is",
    ),
    "count in words": ({"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "many"}, "=many: allowed is"),
    # The environment has no word for "no limit": SpanLimits.UNSET is for code.
    "count unset": (
        {"OTEL_ATTRIBUTE_COUNT_LIMIT": "unset"},
        "=unset: allowed is a whole number",
    ),
    "more attributes than Loki accepts": (
        {"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "1000"},
        "=1000: allowed is",
    ),
    "delay of 0": (
        {"OTEL_BSP_SCHEDULE_DELAY": "0"},
        "=0: allowed is a whole number, 1 or more",
    ),
    "delay with a unit": ({"OTEL_BLRP_SCHEDULE_DELAY": "1s"}, "=1s: allowed is"),
    "negative interval": ({"OTEL_METRIC_EXPORT_INTERVAL": "-5"}, "=-5: allowed is"),
    "infinite timeout": ({"OTEL_METRIC_EXPORT_TIMEOUT": "inf"}, "=inf: allowed is"),
    "span batch larger than its queue": (
        {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9000"},
        "=9000: allowed is",
    ),
    "span queue smaller than its batch": ({"OTEL_BSP_MAX_QUEUE_SIZE": "10"}, "=10: allowed is"),
    "record batch larger than its queue": (
        {"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "9000"},
        "=9000: allowed is",
    ),
    "record queue smaller than its batch": ({"OTEL_BLRP_MAX_QUEUE_SIZE": "10"}, "=10: allowed is"),
    "timeout of 0": ({"OTEL_EXPORTER_OTLP_TIMEOUT": "0"}, "=0: allowed is"),
    "timeout with a unit": (
        {"OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "10s"},
        "=10s: allowed is a number of seconds",
    ),
    "gRPC": ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "=grpc: allowed is http/protobuf"),
    "JSON for one signal": (
        {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/json"},
        "=http/json: allowed is http/protobuf",
    ),
    "endpoint without a scheme": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"},
        "=localhost:4318: allowed is like http://",
    ),
    "unknown scheme for one signal": (
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "grpc://c:4317"},
        "=grpc://c:4317: allowed is",
    ),
    "endpoint with an invalid port": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:99999"},
        "=http://c:99999: allowed is",
    ),
    "endpoint with port 0": (
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:0"},
        "=http://c:0: allowed is",
    ),
    "endpoint in quotes": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": '"http://c:4318"'},
        '="http://c:4318": allowed is',
    ),
    "endpoint with a password": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://u:{SECRET}@c:4318"},
        ": allowed is",
    ),
    "unknown compression": (
        {"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"},
        "=zstd: allowed is none, gzip or deflate",
    ),
    "header without a value": (
        {"OTEL_EXPORTER_OTLP_HEADERS": SECRET},
        "=...: allowed is name=value",
    ),
    "header for one signal": (
        {"OTEL_EXPORTER_OTLP_LOGS_HEADERS": f"api key={SECRET}"},
        "=...: allowed is name=value",
    ),
    "header with a semicolon": (
        {"OTEL_EXPORTER_OTLP_HEADERS": f"api-key={SECRET};b=c"},
        "=...: allowed is name=value",
    ),
    "header with a line break": (
        {"OTEL_EXPORTER_OTLP_HEADERS": f"api-key=x%0A{SECRET}"},
        "=...: allowed is name=value",
    ),
    "missing certificate": (
        {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere.pem"},
        "=/nowhere.pem: allowed is",
    ),
    "missing client certificate": (
        {"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": "/nowhere.pem"},
        "=/nowhere.pem: allowed is",
    ),
    "missing client key": (
        {"OTEL_EXPORTER_OTLP_CLIENT_KEY": "/nowhere.pem"},
        "=/nowhere.pem: allowed is",
    ),
    "resource attribute without a value": (
        {"OTEL_RESOURCE_ATTRIBUTES": "team"},
        "=team: allowed is name=value",
    ),
    "130 resource attributes": (
        {"OTEL_RESOURCE_ATTRIBUTES": ",".join(f"k{n}=v" for n in range(130))},
        ": allowed is name=value, comma-separated, at most 64",
    ),
    "65 resource attributes": (
        {"OTEL_RESOURCE_ATTRIBUTES": f"{KEYS},one=more"},
        ": allowed is name=value, comma-separated, at most 64",
    ),
    "resource attribute that no record can carry": (
        {"OTEL_RESOURCE_ATTRIBUTES": f"k={'v' * 70_000}"},
        ": allowed is",
    ),
    "service name that no index can carry": ({"OTEL_SERVICE_NAME": "n" * 3000}, ": allowed is"),
    "service name that is not UTF-8": ({"OTEL_SERVICE_NAME": "shop\udcff"}, ": allowed is"),
    "resource attribute that is not UTF-8": (
        {"OTEL_RESOURCE_ATTRIBUTES": "k=\udcff"},
        ": allowed is",
    ),
    "console exporter": (
        {"OTEL_TRACES_EXPORTER": "console"},
        "=console: allowed is otlp or none",
    ),
    "two exporters": (
        {"OTEL_METRICS_EXPORTER": "otlp,prometheus"},
        "=otlp,prometheus: allowed is otlp or none",
    ),
    "unknown sampler": (
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        "=jaeger_remote: allowed is",
    ),
    "sampling ratio over 1": (
        {"OTEL_TRACES_SAMPLER_ARG": "1.5"},
        "=1.5: allowed is a share, 0 to 1",
    ),
    "histograms without explicit bounds": (
        {
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
                "base2_exponential_bucket_histogram"
            )
        },
        "=base2_exponential_bucket_histogram: allowed is explicit_bucket_histogram",
    ),
    # Prometheus adds deltas up in memory and forgets them after five minutes without a request, so
    # that the counter would start again unnoticed.
    "delta temporality": (
        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"},
        "=delta: allowed is cumulative",
    ),
    "lowmemory temporality": (
        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "LowMemory"},
        "=LowMemory: allowed is cumulative",
    ),
    "boolean that is neither": ({"OTEL_SDK_DISABLED": "maybe"}, "=maybe: allowed is true or false"),
    "URLs excluded from one pillar": (
        {"OTEL_PYTHON_EXCLUDED_URLS": "charges"},
        "=charges: allowed is none",
    ),
    "URLs excluded from one instrumentation": (
        {"OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": "charges"},
        "=charges: allowed is none",
    ),
    "invalid pattern of request headers": (
        {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": "["},
        "=[: allowed is",
    ),
    "invalid pattern of response headers": (
        {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE": "x,("},
        "=x,(: allowed is",
    ),
    "invalid pattern of sanitized fields": (
        {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS": "*"},
        "=*: allowed is",
    ),
    "unknown resource detector": (
        {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process,moon"},
        "=process,moon: allowed is",
    ),
    "unknown context": ({"OTEL_PYTHON_CONTEXT": "gevent"}, "=gevent: allowed is"),
    "provider from the environment": (
        {"OTEL_PYTHON_METER_PROVIDER": "theirs"},
        "=theirs: allowed is",
    ),
    "configuration file": ({"OTEL_CONFIG_FILE": "/etc/otel.yaml"}, "=/etc/otel.yaml: allowed is"),
    "internal metrics neither on nor off": (
        {"OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "maybe"},
        "=maybe: allowed is true or false",
    ),
    "span names that clients choose": (
        {"OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS": "true"},
        "=true: allowed is false",
    ),
    "value of two lines": ({"OTEL_TRACES_SAMPLER": "always\non"}, "=always\\non: allowed is"),
    "with two workers": ({"OTEL_PROPAGATORS": "b3", "PAYMENT_WORKERS": "2"}, "=b3: allowed is"),
    "our own number out of range": (
        {"PAYMENT_WORKERS": "0"},
        "=0: Input should be greater than or equal to 1",
    ),
    "our own number on two lines": ({"PAYMENT_SEED": "1\n2"}, ": Input should be a valid integer"),
    "address of payment with a password": (
        {"CHECKOUT_PAYMENT_URL": f"http://u:{SECRET}@h:1"},
        ": String should match",
    ),
    "address of payment with an invalid port": (
        {"CHECKOUT_PAYMENT_URL": "http://h:99999"},
        "=http://h:99999:",
    ),
}


def service_of(variables: dict[str, str]) -> str:
    """Return ``checkout`` if one of the names begins with CHECKOUT_, otherwise ``payment``."""
    is_of_checkout = any(key.startswith("CHECKOUT_") for key in variables)
    return "checkout" if is_of_checkout else "payment"


def environment_of(variables: dict[str, str]) -> dict[str, str]:
    """Return the environment of a service that gets ``variables``, and no others of services.

    A service that accepts them ends as well, because it cannot listen on the address of another
    machine.
    """
    prefixes = ("OTEL_", "CHECKOUT_", "PAYMENT_")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
    # An address of the range that is reserved for documentation.
    foreign_address = {f"{service_of(variables).upper()}_BIND": "203.0.113.1"}
    return clean | foreign_address | variables


def run_service(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a service with the environment ``variables`` until it ends."""
    return subprocess.run(
        [sys.executable, "-m", f"services.{service_of(variables)}"],
        env=environment_of(variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def refusals(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, subprocess.CompletedProcess[str]]:
    """The completed process of each case in ``REFUSED``, by the name of the case.

    ``OTEL_*`` variables are checked before anything that obeys them is imported, so a fork of a
    process that has imported only the check is enough for them.
    """
    completed: dict[str, subprocess.CompletedProcess[str]] = {}
    with fork_server(tmp_path_factory.mktemp("refused"), "services.common.startup") as server:
        for case_name, (variables, _) in REFUSED.items():
            if all(name.startswith("OTEL_") for name in variables):
                module = f"services.{service_of(variables)}"
                completed[case_name] = server.run(environment_of(variables), module=module)
            else:
                completed[case_name] = run_service(variables)
    return completed


@pytest.mark.parametrize("case_name", REFUSED)
def test_value_that_cannot_be_obeyed_is_refused(
    refusals: dict[str, subprocess.CompletedProcess[str]], case_name: str
) -> None:
    """A service ends with code 2 and one line: the variable, its value and what is allowed."""
    process = refusals[case_name]
    variables, expected = REFUSED[case_name]
    assert (process.returncode, process.stdout) == (2, ""), process.stderr
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"{next(iter(variables))}=")
    assert expected in line
    assert SECRET not in line
    assert len(line) < 400


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three invalid variables are reported at once, in three lines of one error."""
    monkeypatch.setenv("OTEL_PROPAGATORS", "b3")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "x")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "y")
    with pytest.raises(ConfigurationError) as raised:
        environment.prepare()
    assert len(str(raised.value).splitlines()) == 3
    assert os.environ["OTEL_TRACES_SAMPLER"] == "x", "nothing is changed when values are refused"


@pytest.mark.parametrize(
    "field_name", [*OpenTelemetryVariables.model_fields], ids=lambda name: name
)
def test_every_variable_says_what_is_allowed(field_name: str) -> None:
    """Each ``OTEL_*`` variable has a description, for error messages and the reference."""
    assert OpenTelemetryVariables.model_fields[field_name].description


# --- Former names, which are accepted for one release ---

FORMER_NAMES = [
    (CheckoutSettings, "CHECKOUT_INSIDE", "CHECKOUT_TRUSTED_NETWORKS", "10.0.0.0/8"),
    (PaymentSettings, "PAYMENT_INSIDE", "PAYMENT_TRUSTED_NETWORKS", "10.0.0.0/8"),
    (StoreSettings, "EMBEDDED_PORT", "STORE_PORT", "4444"),
    (StoreSettings, "EMBEDDED_SIZE_MIB", "STORE_SIZE_MIB", "64"),
    (WebSettings, "CONSOLE_PORT", "WEB_PORT", "4444"),
    (WebSettings, "CONSOLE_HOSTS", "WEB_HOSTS", "page.test:8080"),
]


@pytest.fixture
def restored_environment() -> Iterator[None]:
    """Restore ``os.environ`` after the test."""
    original_environment = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(original_environment)


@pytest.mark.usefixtures("restored_environment")
@pytest.mark.parametrize(("settings", "former", "current", "value"), FORMER_NAMES)
def test_former_name_is_accepted_with_one_warning(
    capsys: pytest.CaptureFixture[str],
    settings: type[Settings],
    former: str,
    current: str,
    value: str,
) -> None:
    """A former variable name takes effect, with one warning on stderr, not one for each load."""
    os.environ.pop(current, None)
    os.environ[former] = value
    for _ in range(2):
        loaded = settings.load()
        field_name = current.partition("_")[2].lower()
        assert str(getattr(loaded, field_name)) == value
    (line,) = capsys.readouterr().err.splitlines()
    assert former in line
    assert current in line


@pytest.mark.usefixtures("restored_environment")
@pytest.mark.parametrize(("settings", "former", "current", "value"), FORMER_NAMES)
def test_current_name_wins_over_the_former_one(
    settings: type[Settings], former: str, current: str, value: str
) -> None:
    """If both names are set, the current one takes effect, even if the former value is invalid."""
    os.environ[current] = value
    os.environ[former] = "not valid"
    loaded = settings.load()
    assert str(getattr(loaded, current.partition("_")[2].lower())) == value


def test_former_name_of_a_running_service_is_announced_once() -> None:
    """A service with two workers and a former variable name writes the warning only once."""
    process = run_service({"PAYMENT_INSIDE": "10.0.0.0/8", "PAYMENT_WORKERS": "2"})
    lines = [line for line in process.stderr.splitlines() if "PAYMENT_INSIDE" in line]
    assert len(lines) == 1, process.stderr
    assert "PAYMENT_TRUSTED_NETWORKS" in lines[0]


# --- Values that are obeyed: each by a payment service of its own, all at once ---


@dataclass
class ChargeResult:
    """The result of one charge: the response, and the telemetry of the payment service."""

    collector: InMemoryCollector
    response: httpx2.Response
    lines: list[dict[str, Any]] = field(default_factory=list)

    def metrics(self) -> dict[str, Any]:
        """Return the metrics of the last export by name."""
        messages: list[Any] = [
            message for path, message in self.collector.received if path == PATHS["metrics"]
        ]
        return {
            metric.name: metric
            for resource_metrics in messages[-1].resource_metrics
            for scope_metrics in resource_metrics.scope_metrics
            for metric in scope_metrics.metrics
        }

    def resource(self, signal: str) -> dict[str, str]:
        """Return the resource attributes of the first export of ``signal``, a key of ``PATHS``."""
        message: Any = next(
            message for path, message in self.collector.received if path == PATHS[signal]
        )
        by_signal = {
            "traces": "resource_spans",
            "metrics": "resource_metrics",
            "logs": "resource_logs",
        }
        resource = getattr(message, by_signal[signal])[0].resource
        return {item.key: item.value.string_value for item in resource.attributes}

    def paths(self) -> set[str]:
        """Return the paths of the Collector that received exports; each signal has one."""
        return {path for path, _ in self.collector.received}


PADDED = {
    "OTEL_TRACES_SAMPLER": " always_off ",
    "OTEL_METRICS_EXEMPLAR_FILTER": " always_off ",
    "OTEL_PROPAGATORS": " tracecontext ",
    "OTEL_LOGS_EXPORTER": " none ",
    "OTEL_ATTRIBUTE_COUNT_LIMIT": " 64 ",
    "OTEL_EXPORTER_OTLP_COMPRESSION": " none ",
    "OTEL_METRIC_EXPORT_INTERVAL": " 1000 ",
}
SERVICE_NAME = "Kasse nº 1, née=\u2615"
OBEYED: dict[str, dict[str, str]] = {
    "no traces": {"OTEL_TRACES_EXPORTER": "none", "OTEL_SEMCONV_STABILITY_OPT_IN": "database"},
    "no metrics": {"OTEL_METRICS_EXPORTER": "none"},
    "no logs": {
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup,database",
    },
    "padded": PADDED,
    "64 resource attributes": {
        "OTEL_RESOURCE_ATTRIBUTES": f"{KEYS.rsplit(',', 1)[0]},service.instance.id=pod-1",
        "OTEL_SERVICE_NAME": SERVICE_NAME,
    },
    "SDK disabled": {"OTEL_SDK_DISABLED": "true"},
}


def charge_once(folder: Path, variables: dict[str, str]) -> ChargeResult:
    """Run a payment service with ``variables``, charge once, stop it, and return the result."""
    folder.mkdir()
    with (
        run_collector() as collector,
        serve("payment", folder, collector.url, **variables) as payment,
    ):
        result = ChargeResult(collector, payment.post("/charges", CHARGE))
        payment.stop(10)
        result.lines = payment.lines()
    return result


ChargeResults = Callable[[str], ChargeResult]


@pytest.fixture(scope="module")
def charge_result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChargeResults]:
    """Charge once with the variables of each case in ``OBEYED``, all at once.

    Yield a function that returns the result of a case by its name. The function raises if that
    case has failed, so that only its own tests fail.
    """
    folder = tmp_path_factory.mktemp("obeyed")
    with ThreadPoolExecutor(3) as pool:
        futures = {
            case_name: pool.submit(charge_once, folder / str(number), OBEYED[case_name])
            for number, case_name in enumerate(OBEYED)
        }
        yield lambda case_name: futures[case_name].result()


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_signal_without_an_exporter_is_not_sent(charge_result: ChargeResults, signal: str) -> None:
    """With the exporter ``none`` a signal is not sent, and the other two signals are."""
    result = charge_result(f"no {signal}")
    assert result.paths() == set(PATHS.values()) - {PATHS[signal]}
    assert result.response.status_code == 200
    (line,) = [line for line in result.lines if line.get("outcome") == "authorised"]
    assert line["trace_id"] == result.response.json()["trace_id"]
    assert not [line for line in result.lines if line["level"] != "info"]


@pytest.mark.parametrize("case_name", ["no traces", "no logs", "64 resource attributes"])
def test_metrics_have_the_stable_names_only(charge_result: ChargeResults, case_name: str) -> None:
    """The request metrics have stable names and no Host header, whatever else is opted in."""
    metrics = charge_result(case_name).metrics()
    http_metrics = {name for name in metrics if name.startswith("http.")}
    assert http_metrics == {"http.server.active_requests", "http.server.request.duration"}
    assert not {"http.server.duration", "http.server.response.size"} & metrics.keys()
    assert "server.address" not in str(metrics)
    assert "127.0.0.1" not in str(metrics)


def test_blanks_around_a_value_are_ignored(charge_result: ChargeResults) -> None:
    """A value with blanks around it takes effect as it does without them."""
    result = charge_result("padded")
    assert result.response.status_code == 200
    assert result.paths() == {PATHS["metrics"]}
    (point,) = result.metrics()["payment.request.latency"].histogram.data_points
    assert not point.exemplars
    assert not [line for line in result.lines if line["level"] != "info"]


def test_64_resource_attributes_arrive(charge_result: ChargeResults) -> None:
    """Each signal has all 64 resource attributes, and the instance id of a single process."""
    for signal in PATHS:
        resource = charge_result("64 resource attributes").resource(signal)
        keys = [f"key{number}" for number in range(63)]
        assert [key for key in keys if resource.get(key) != "value"] == []
        assert resource["service.instance.id"] == "pod-1"


def test_service_name_in_any_letters_arrives(charge_result: ChargeResults) -> None:
    """A service name with letters and signs beyond ASCII is unchanged in every signal."""
    result = charge_result("64 resource attributes")
    assert {result.resource(signal)["service.name"] for signal in PATHS} == {SERVICE_NAME}


def test_resource_names_the_shop(charge_result: ChargeResults) -> None:
    """The resource of the services has the namespace shop and the environment demo."""
    for signal in PATHS:
        resource = charge_result("64 resource attributes").resource(signal)
        assert resource["service.namespace"] == "shop"
        assert resource["deployment.environment.name"] == "demo"


def test_service_works_with_the_sdk_disabled(charge_result: ChargeResults) -> None:
    """With ``OTEL_SDK_DISABLED=true`` nothing is sent; response and log line are as usual."""
    result = charge_result("SDK disabled")
    assert result.response.status_code == 200
    assert result.response.json()["outcome"] == "authorised"
    assert result.paths() == set()
    requests_logged = [line for line in result.lines if "http.route" in line]
    assert [line["http.response.status_code"] for line in requests_logged] == [200]


# --- Blank variables are unset ---

MAX_VALUE_LENGTH = 8192
OUR_DEFAULTS: dict[str, object] = {
    "OTEL_BSP_SCHEDULE_DELAY": 1000,
    "OTEL_METRIC_EXPORT_INTERVAL": 1000,
    "OTEL_BSP_MAX_QUEUE_SIZE": 8192,
    "OTEL_BLRP_MAX_QUEUE_SIZE": 8192,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": MAX_VALUE_LENGTH,
    "OTEL_TRACES_SAMPLER": "always_on",
}


@pytest.mark.usefixtures("restored_environment")
@pytest.mark.parametrize("blank", ["", "  ", "\t"], ids=["empty", "blanks", "tab"])
@pytest.mark.parametrize("name", OUR_DEFAULTS)
def test_blank_variable_leaves_our_default(name: str, blank: str) -> None:
    """An ``OTEL_*`` variable that is empty or blank counts as unset: our own default holds."""
    os.environ[name] = blank
    variables = environment.prepare()
    field_name = name.removeprefix("OTEL_").lower()
    assert getattr(variables, field_name) == OUR_DEFAULTS[name]
    assert field_name not in variables.model_fields_set
    assert name not in os.environ, "the SDK does not see a blank value either"


@pytest.mark.usefixtures("restored_environment")
@pytest.mark.parametrize(
    "value",
    ["", " ", ",", "http", "http/dup", "database", "database,http/dup", " database , http "],
)
def test_stable_http_conventions_are_always_chosen(value: str) -> None:
    """``http`` is in OTEL_SEMCONV_STABILITY_OPT_IN once, ``http/dup`` never, others if given."""
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = value
    environment.prepare()
    items = os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"].split(",")
    chosen = [item.strip() for item in items if item.strip()]
    assert [convention for convention in chosen if "http" in convention] == ["http"]
    assert ("database" in chosen) == ("database" in value)


@pytest.mark.parametrize("blank", ["", "  "], ids=["empty", "blanks"])
@pytest.mark.parametrize(
    "settings",
    [CheckoutSettings, PaymentSettings, StoreSettings, WebSettings],
    ids=["CHECKOUT_", "PAYMENT_", "STORE_", "WEB_"],
)
def test_our_own_blank_variables_are_unset(
    monkeypatch: pytest.MonkeyPatch, settings: type[Settings], blank: str
) -> None:
    """A blank variable of our own programs counts as unset, as ``OTEL_*`` variables do."""
    names = [settings.variable(field_name) for field_name in settings.model_fields]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    settings_without_variables = settings.load()
    for name in names:
        monkeypatch.setenv(name, blank)
    assert settings.load() == settings_without_variables


PRINT_ADDRESSES = """
from three_pillar_demo.load import checkout_client
from three_pillar_demo.query.http_clients import HttpClients

print(checkout_client.checkout_url(), *HttpClients().urls.values())
"""


@pytest.mark.parametrize("name", ["CHECKOUT_HOST", "TEMPO_HOST", "LOKI_HOST", "PROMETHEUS_HOST"])
def test_blank_host_is_this_machine(name: str) -> None:
    """An empty variable for a peer's host stands for this machine, as an unset one does."""
    process = subprocess.run(
        [sys.executable, "-c", PRINT_ADDRESSES],
        env=os.environ | {name: ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    addresses = process.stdout.split()
    assert {address.rsplit(":", 1)[0] for address in addresses} == {"http://127.0.0.1"}


# --- Redirects and proxies ---


def open_session(signal: str) -> RetryingSession:
    """Return the session of the OTLP exporter of ``signal``, one of ``SIGNALS``."""
    session = otlp_session(signal)
    assert session
    return session


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_an_error(status: int) -> None:
    """A redirect by the OTLP endpoint raises an HTTPError that names its location."""
    with run_post_server(status, "https://elsewhere.example/login") as (url, _):
        match = r"https://elsewhere\.example/login"
        with open_session("TRACES") as session, pytest.raises(requests.HTTPError, match=match):
            session.request(
                "POST", f"{url}/v1/traces", data=b"x", timeout=10, allow_redirects=False
            )


@pytest.mark.parametrize("status", [300, 302, 304, 308])
def test_redirect_without_a_location_is_an_error(status: int) -> None:
    """A status 3xx without a location raises an HTTPError as well."""
    with (
        run_post_server(status) as (url, _),
        open_session("LOGS") as session,
        pytest.raises(requests.HTTPError),
    ):
        session.request("POST", f"{url}/v1/logs", data=b"x", timeout=10, allow_redirects=False)


def test_redirect_is_logged_once_a_batch(tmp_path: Path) -> None:
    """A redirect by the OTLP endpoints is logged once for each batch, with the new address."""
    with (
        run_post_server(308, "https://elsewhere.example/") as (url, _),
        serve("payment", tmp_path, url, **LONG_EXPORT_INTERVALS) as payment,
    ):
        assert payment.post("/charges", CHARGE).status_code == 200
        payment.stop(10)
        errors = [line["event"] for line in payment.lines() if line["level"] == "error"]
    assert all("https://elsewhere.example/" in error for error in errors), errors
    counts = {kind: sum(kind in error for error in errors) for kind in ("spans", "metrics", "logs")}
    assert counts == {"spans": 1, "metrics": 1, "logs": 1}, errors


PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
PROXY = "http://proxy.example.org:3128"
UNPROXIED_ENDPOINTS = (
    "http://127.0.0.1:4318",
    "http://127.8.8.8:4318",
    "http://localhost:4318",
    "http://LocalHost:4318",
    "http://[::1]:4318",
    "http://otel-collector:4318",
    "https://otel-collector:4318",
)
REMOTE_ENDPOINTS = (
    "http://collector.example.org:4318",
    "https://collector.example.org",
    "http://10.0.0.7:4318",
    "http://[2001:db8::1]:4318",
    "https://[2001:db8::1]",
)


class RecordingAdapter(BaseAdapter):
    """An HTTP adapter that sends nothing, but records the proxy and certificates of a request."""

    verify: object = None
    proxy: str | None = None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401
        """Record the options of the request, and return a response with status 200."""
        self.verify = options["verify"]
        self.proxy = requests.utils.select_proxy(str(request.url), options["proxies"])
        response = requests.Response()
        response.status_code = 200
        response.request = request
        response.url = str(request.url)
        response._content = b""  # noqa: SLF001  (otherwise it reads a connection)
        return response

    def close(self) -> None:
        """Do nothing, because there is no connection."""


def send_batch(endpoint: str) -> RecordingAdapter:
    """Send a batch to ``endpoint``; return the adapter with the recorded proxy and certificates."""
    session = open_session("TRACES")
    adapter = RecordingAdapter()
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.request("POST", f"{endpoint}/v1/traces", data=b"x")
    return adapter


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset the variables that name a proxy."""
    for name in (*PROXIES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("endpoint", UNPROXIED_ENDPOINTS)
def test_neighbour_is_reached_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, name: str, endpoint: str
) -> None:
    """Telemetry to this machine or to another service of Docker Compose takes no proxy."""
    monkeypatch.setenv(name, PROXY)
    assert send_batch(endpoint).proxy is None


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("endpoint", REMOTE_ENDPOINTS)
def test_remote_collector_is_reached_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch, name: str, endpoint: str
) -> None:
    """Telemetry to a remote Collector takes the proxy of its URL scheme or the one for all."""
    monkeypatch.setenv(name, PROXY)
    scheme = endpoint.partition(":")[0]
    proxy_applies = name.lower().partition("_")[0] in {"all", scheme}
    assert send_batch(endpoint).proxy == (PROXY if proxy_applies else None)


@pytest.mark.usefixtures("no_proxies")
def test_no_proxy_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Telemetry to a remote Collector that ``NO_PROXY`` names takes no proxy."""
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "example.org")
    assert send_batch("http://collector.example.org:4318").proxy is None


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    "endpoint", ["https://otel-collector:4318", "https://collector.example.org:4318"]
)
def test_certificates_of_the_machine_apply_to_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str
) -> None:
    """``REQUESTS_CA_BUNDLE`` takes effect for local and for remote Collectors."""
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert send_batch(endpoint).verify == str(bundle)


def test_shop_behind_a_proxy_works(tmp_path: Path) -> None:
    """With a proxy set, a purchase succeeds, and only telemetry to a remote endpoint takes it."""
    with run_collector() as collector, run_post_server(200) as (proxy, proxied):
        variables = {
            **dict.fromkeys(PROXIES, proxy),
            "NO_PROXY": "",
            "no_proxy": "",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector.example.org:4318/v1/traces",
        }
        with running_shop(tmp_path, collector.url, **variables) as services:
            checkout, _payment = services
            assert checkout.post("/checkout").json()["outcome"] == "success"
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda service: service.stop(10), services))
    assert {path for path, _ in collector.received} == {PATHS["metrics"], PATHS["logs"]}
    assert {post.path for post in proxied} == {"http://collector.example.org:4318/v1/traces"}


CLIENTS = {
    f"httpx2.{name}"
    for name in ("AsyncClient", "Client", "get", "post", "put", "head", "request", "stream")
}
DEMO = Path(three_pillar_demo.__file__).parent


@pytest.mark.parametrize(
    "path", sorted(DEMO.rglob("*.py")), ids=lambda path: str(path.relative_to(DEMO))
)
def test_clients_of_the_demo_speak_plain_http(path: Path) -> None:
    """Every HTTP client of the demo ignores proxies and reads no certificates: peers are local."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CLIENTS:
            arguments = {item.arg: ast.unparse(item.value) for item in node.keywords}
            assert arguments.get("trust_env") == "False", ast.unparse(node)
            assert arguments.get("verify") == "NO_CERTIFICATES", ast.unparse(node)


# --- Instances ---


def test_two_workers_are_two_instances(tmp_path: Path, collector: InMemoryCollector) -> None:
    """Two workers with one ``service.instance.id`` get two ids, which both begin with it."""
    variables = {
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=pod-1",
        "PAYMENT_WORKERS": "2",
    }
    requests_sent = 0
    with serve("payment", tmp_path, collector.url, **variables) as payment:

        def send_requests_to_both() -> bool:
            nonlocal requests_sent
            with ThreadPoolExecutor(8) as clients:
                statuses = clients.map(lambda _: status_of(f"{payment.url}/nowhere"), range(16))
                assert set(statuses) == {404}
            requests_sent += 16
            return len(collector.instances["payment"]) == 2

        wait_for("telemetry of both workers", send_requests_to_both)
        send_requests_to_both()
        payment.stop(10)
    assert len(collector.instances["payment"]) == 2
    assert all(instance.startswith("pod-1/") for instance in collector.instances["payment"])
    assert collector.counted("payment") == requests_sent


# --- The real backends ---


def test_loki_accepts_the_largest_record() -> None:
    """Loki's limits admit a record with 64 resource attributes and 128 others of full length."""
    limits = yaml.safe_load(Path("config/loki.yaml").read_text())["limits_config"]
    assert limits["max_structured_metadata_entries_count"] >= 64 + 10 + 128
    assert limits["max_structured_metadata_size"] == "2MB"
    assert 128 * MAX_VALUE_LENGTH < 2_000_000
    assert limits["max_line_size_truncate"] is True
