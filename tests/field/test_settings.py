"""Settings: a value is obeyed, or refused at the start in one line that names the variable, the value and what is allowed."""

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
import requests
import yaml
from requests.adapters import BaseAdapter

import three_pillar_demo.local_store.__main__
import three_pillars.environment
from services.checkout.__main__ import Settings as Checkout
from services.payment.__main__ import Settings as Payment
from tests.processes import Sink, listening, serve, shop, wait_for
from three_pillars.export.session import session

SECRET = "geheim"  # noqa: S105  (nobody's)
SIGNALS = ("TRACES", "METRICS", "LOGS")
KEYS = ",".join(f"key{n}=value" for n in range(64))

# --- Refused: (settings, what the one line says besides the first variable's name) ---

REFUSED: dict[str, tuple[dict[str, str], str]] = {
    # Nobody could say which request a line belongs to.
    "no propagator": (
        {"OTEL_PROPAGATORS": "none"},
        "=none: allowed is tracecontext, baggage or both",
    ),
    "a propagator that is not installed": ({"OTEL_PROPAGATORS": "b3"}, "=b3: allowed is"),
    "a propagator among others": (
        {"OTEL_PROPAGATORS": "tracecontext,jaeger"},
        "=tracecontext,jaeger: allowed is",
    ),
    "exemplars sometimes": (
        {"OTEL_METRICS_EXEMPLAR_FILTER": "sometimes"},
        "=sometimes: allowed is always_on,",
    ),
    "a length with a unit": (
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "8k"},
        "=8k: allowed is a whole number",
    ),
    "a length for spans": ({"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "-1"}, "=-1: allowed is"),
    "a count for lines": ({"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "many"}, "=many: allowed is"),
    # The Python SDK knows no word for it: open-telemetry/opentelemetry-python, SpanLimits.UNSET is for code.
    "a count that is a word": (
        {"OTEL_ATTRIBUTE_COUNT_LIMIT": "unset"},
        "=unset: allowed is a whole number",
    ),
    "more attributes than Loki takes": (
        {"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "1000"},
        "=1000: allowed is",
    ),
    "a delay of nothing": (
        {"OTEL_BSP_SCHEDULE_DELAY": "0"},
        "=0: allowed is a whole number, 1 or more",
    ),
    "a delay in words": ({"OTEL_BLRP_SCHEDULE_DELAY": "1s"}, "=1s: allowed is"),
    "an interval below nothing": ({"OTEL_METRIC_EXPORT_INTERVAL": "-5"}, "=-5: allowed is"),
    "a limit without end": ({"OTEL_METRIC_EXPORT_TIMEOUT": "inf"}, "=inf: allowed is"),
    "batches over the queue": ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9000"}, "=9000: allowed is"),
    "a queue under the batches": ({"OTEL_BSP_MAX_QUEUE_SIZE": "10"}, "=10: allowed is"),
    "batches of lines over the queue": (
        {"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "9000"},
        "=9000: allowed is",
    ),
    "a queue under the batches of lines": ({"OTEL_BLRP_MAX_QUEUE_SIZE": "10"}, "=10: allowed is"),
    "time for no export": ({"OTEL_EXPORTER_OTLP_TIMEOUT": "0"}, "=0: allowed is"),
    "time in words": (
        {"OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "10s"},
        "=10s: allowed is a number of seconds",
    ),
    "gRPC": ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "=grpc: allowed is http/protobuf"),
    "JSON for one signal": (
        {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/json"},
        "=http/json: allowed is http/protobuf",
    ),
    "an endpoint without a scheme": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"},
        "=localhost:4318: allowed is like http://",
    ),
    "another scheme for one signal": (
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "grpc://c:4317"},
        "=grpc://c:4317: allowed is",
    ),
    "an endpoint with a port that is none": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:99999"},
        "=http://c:99999: allowed is",
    ),
    "an endpoint with port 0": (
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:0"},
        "=http://c:0: allowed is",
    ),
    "an endpoint in quotes": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": '"http://c:4318"'},
        '="http://c:4318": allowed is',
    ),
    "an endpoint with a password": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://u:{SECRET}@c:4318"},
        ": allowed is",
    ),
    "a compression nobody knows": (
        {"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"},
        "=zstd: allowed is none, gzip or deflate",
    ),
    "a header without a value": (
        {"OTEL_EXPORTER_OTLP_HEADERS": SECRET},
        "=...: allowed is name=value",
    ),
    "a header for one signal": (
        {"OTEL_EXPORTER_OTLP_LOGS_HEADERS": f"api key={SECRET}"},
        "=...: allowed is name=value",
    ),
    "a header with a semicolon": (
        {"OTEL_EXPORTER_OTLP_HEADERS": f"api-key={SECRET};b=c"},
        "=...: allowed is name=value",
    ),
    "a header of two lines": (
        {"OTEL_EXPORTER_OTLP_HEADERS": f"api-key=x%0A{SECRET}"},
        "=...: allowed is name=value",
    ),
    "no certificates there": (
        {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere.pem"},
        "=/nowhere.pem: allowed is",
    ),
    "no client certificate there": (
        {"OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": "/nowhere.pem"},
        "=/nowhere.pem: allowed is",
    ),
    "no client key there": (
        {"OTEL_EXPORTER_OTLP_CLIENT_KEY": "/nowhere.pem"},
        "=/nowhere.pem: allowed is",
    ),
    "resource without a value": (
        {"OTEL_RESOURCE_ATTRIBUTES": "team"},
        "=team: allowed is name=value",
    ),
    "130 keys": (
        {"OTEL_RESOURCE_ATTRIBUTES": ",".join(f"k{n}=v" for n in range(130))},
        ": allowed is name=value, comma-separated, at most 64",
    ),
    "65 keys": (
        {"OTEL_RESOURCE_ATTRIBUTES": f"{KEYS},one=more"},
        ": allowed is name=value, comma-separated, at most 64",
    ),
    "a value that no line can carry": (
        {"OTEL_RESOURCE_ATTRIBUTES": f"k={'v' * 70_000}"},
        ": allowed is",
    ),
    "a name that no index can carry": ({"OTEL_SERVICE_NAME": "n" * 3000}, ": allowed is"),
    "a name that is not UTF-8": ({"OTEL_SERVICE_NAME": "shop\udcff"}, ": allowed is"),
    "a resource that is not UTF-8": ({"OTEL_RESOURCE_ATTRIBUTES": "k=\udcff"}, ": allowed is"),
    "a console for spans": (
        {"OTEL_TRACES_EXPORTER": "web"},
        "=console: allowed is otlp or none",
    ),
    "Prometheus and OTLP": (
        {"OTEL_METRICS_EXPORTER": "otlp,prometheus"},
        "=otlp,prometheus: allowed is otlp or none",
    ),
    "a sampler nobody knows": (
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        "=jaeger_remote: allowed is",
    ),
    "a share over 1": ({"OTEL_TRACES_SAMPLER_ARG": "1.5"}, "=1.5: allowed is a share, 0 to 1"),
    "histograms without bounds": (
        {
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"
        },
        "=base2_exponential_bucket_histogram: allowed is explicit_bucket_histogram",
    ),
    # Prometheus adds deltas up in memory, and forgets after five minutes without a sale: the counter begins again unseen.
    "delta": (
        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"},
        "=delta: allowed is cumulative",
    ),
    "lowmemory": (
        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "LowMemory"},
        "=LowMemory: allowed is cumulative",
    ),
    "neither on nor off": ({"OTEL_SDK_DISABLED": "maybe"}, "=maybe: allowed is true or false"),
    "quiet in one pillar": ({"OTEL_PYTHON_EXCLUDED_URLS": "charges"}, "=charges: allowed is none"),
    "quiet in one library": (
        {"OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": "charges"},
        "=charges: allowed is none",
    ),
    "a header's name that is no pattern": (
        {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": "["},
        "=[: allowed is",
    ),
    "an answer's header": (
        {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE": "x,("},
        "=x,(: allowed is",
    ),
    "a field to hide": (
        {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS": "*"},
        "=*: allowed is",
    ),
    "a detector nobody knows": (
        {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process,moon"},
        "=process,moon: allowed is",
    ),
    "a context nobody knows": ({"OTEL_PYTHON_CONTEXT": "gevent"}, "=gevent: allowed is"),
    "a provider nobody knows": ({"OTEL_PYTHON_METER_PROVIDER": "theirs"}, "=theirs: allowed is"),
    "a file nobody reads": ({"OTEL_CONFIG_FILE": "/etc/otel.yaml"}, "=/etc/otel.yaml: allowed is"),
    "figures of the SDK perhaps": (
        {"OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "maybe"},
        "=maybe: allowed is true or false",
    ),
    "a value of two lines": ({"OTEL_TRACES_SAMPLER": "always\non"}, "=always\\non: allowed is"),
    "with two workers": ({"OTEL_PROPAGATORS": "b3", "PAYMENT_WORKERS": "2"}, "=b3: allowed is"),
    "our own number": ({"PAYMENT_WORKERS": "0"}, "=0: Input should be greater than or equal to 1"),
    "our own text of two lines": ({"PAYMENT_SEED": "1\n2"}, ": Input should be a valid integer"),
    "the address of payment with a password": (
        {"CHECKOUT_PAYMENT_URL": f"http://u:{SECRET}@h:1"},
        ": String should match",
    ),
    "the address of payment with a port that is none": (
        {"CHECKOUT_PAYMENT_URL": "http://h:99999"},
        "=http://h:99999:",
    ),
}


def refusal(settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What a service says that finds ``settings``; one that takes them ends at an address that is not its own."""
    name = "checkout" if any(each.startswith("CHECKOUT_") for each in settings) else "payment"
    clean = {
        each: value
        for each, value in os.environ.items()
        if not each.startswith(("OTEL_", "CHECKOUT_", "PAYMENT_"))
    }
    elsewhere = {f"{name.upper()}_BIND": "203.0.113.1"}  # of documents: no machine has it
    return subprocess.run(
        [sys.executable, "-m", f"services.{name}"],
        env=clean | elsewhere | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def refusals() -> dict[str, subprocess.CompletedProcess[str]]:
    """Every case of ``REFUSED``, tried with a real process."""
    with ThreadPoolExecutor(3) as several:
        said = several.map(lambda case: refusal(case[0]), REFUSED.values())
        return dict(zip(REFUSED, said, strict=True))


@pytest.mark.parametrize("case", REFUSED)
def test_a_value_that_cannot_be_obeyed_is_refused(
    refusals: dict[str, subprocess.CompletedProcess[str]], case: str
) -> None:
    """A service that cannot obey a variable ends with code 2 and one line: the variable, its value, and what is allowed."""
    done, (settings, words) = refusals[case], REFUSED[case]
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{next(iter(settings))}=")
    assert words in line
    assert SECRET not in line
    assert len(line) < 400


def test_every_wrong_variable_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has three things wrong reads three lines, not one after each start."""
    for name, value in (
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_TRACES_SAMPLER", "x"),
        ("OTEL_SDK_DISABLED", "y"),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        three_pillars.environment.apply()
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


# --- Obeyed: each with a payment service of its own, all at once ---


@dataclass
class Told:
    """What became of one purchase, and of what was told of it."""

    sink: Sink
    answer: httpx2.Response
    lines: list[dict[str, Any]] = field(default_factory=list)

    def metrics(self) -> dict[str, Any]:
        """The last metrics sent, by name."""
        messages: list[Any] = [
            message for path, message in self.sink.received if path == "/v1/metrics"
        ]
        scopes = [scope for part in messages[-1].resource_metrics for scope in part.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def resource(self, path: str) -> dict[str, str]:
        """Who said what went to ``path``."""
        message: Any = next(message for where, message in self.sink.received if where == path)
        part = {
            "/v1/traces": "resource_spans",
            "/v1/metrics": "resource_metrics",
            "/v1/logs": "resource_logs",
        }[path]
        return {
            each.key: each.value.string_value
            for each in getattr(message, part)[0].resource.attributes
        }

    def paths(self) -> set[str]:
        """Which signals arrived."""
        return {path for path, _ in self.sink.received}


PADDED = {
    "OTEL_TRACES_SAMPLER": " always_off ",
    "OTEL_METRICS_EXEMPLAR_FILTER": " always_off ",
    "OTEL_PROPAGATORS": " tracecontext ",
    "OTEL_LOGS_EXPORTER": " none ",
    "OTEL_ATTRIBUTE_COUNT_LIMIT": " 64 ",
    "OTEL_EXPORTER_OTLP_COMPRESSION": " none ",
    "OTEL_METRIC_EXPORT_INTERVAL": " 1000 ",
}
NAMED = {"OTEL_SERVICE_NAME": "Kasse nº 1, née=\u2615"}
OBEYED: dict[str, dict[str, str]] = {
    "traces: none": {"OTEL_TRACES_EXPORTER": "none", "OTEL_SEMCONV_STABILITY_OPT_IN": "database"},
    "metrics: none": {"OTEL_METRICS_EXPORTER": "none"},
    "logs: none": {
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup,database",
    },
    "space around": PADDED,
    "64 keys": {
        "OTEL_RESOURCE_ATTRIBUTES": f"{KEYS.rsplit(',', 1)[0]},service.instance.id=pod-1",
        **NAMED,
    },
    "switched off": {"OTEL_SDK_DISABLED": "true"},
}


def purchase(folder: Path, settings: dict[str, str]) -> Told:
    """One charge of a payment service with ``settings``, which is then stopped and has told all."""
    folder.mkdir()
    with listening() as sink, serve("payment", folder, sink.url, **settings) as payment:
        charge: dict[str, object] = {
            "order_id": "one",
            "amount": "1",
            "currency": "EUR",
            "card": "ordinary",
        }
        told = Told(sink, payment.post("/charges", charge))
        payment.stop(10)
        told.lines = payment.lines()
    return told


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Told]]:
    """Every case of ``OBEYED``, tried with a real process; a case that cannot even be tried fails where it is asked for."""
    folder = tmp_path_factory.mktemp("obeyed")
    with ThreadPoolExecutor(3) as several:
        kept = {
            name: several.submit(purchase, folder / str(n), OBEYED[name])
            for n, name in enumerate(OBEYED)
        }
        yield lambda name: kept[name].result()


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_a_signal_without_an_exporter_is_not_sent(told: Callable[[str], Told], signal: str) -> None:
    """With ``none`` a signal goes nowhere, and the other two, the answer, its trace id and the line on stdout are as ever."""
    case = told(f"{signal}: none")
    assert case.paths() == {f"/v1/{each.lower()}" for each in SIGNALS} - {f"/v1/{signal}"}
    assert case.answer.status_code == 200
    (line,) = [each for each in case.lines if each.get("outcome") == "authorised"]
    assert line["trace_id"] == case.answer.json()["trace_id"]
    assert not [each for each in case.lines if each["level"] != "info"]


@pytest.mark.parametrize("case", ["traces: none", "logs: none", "64 keys"])
def test_only_the_new_names_of_metrics_are_sent(told: Callable[[str], Told], case: str) -> None:
    """Whatever else is opted in, request metrics have their stable names, and the client's Host header is on none of them."""
    metrics = told(case).metrics()
    http = {name for name in metrics if name.startswith("http.")}
    assert http == {"http.server.active_requests", "http.server.request.duration"}
    assert not {"http.server.duration", "http.server.response.size"} & metrics.keys()
    assert "server.address" not in str(metrics)
    assert "127.0.0.1" not in str(metrics)


def test_space_around_a_value_is_none_of_it(told: Callable[[str], Told]) -> None:
    """A value that a file or a form padded with blanks is obeyed as if it had none."""
    case = told("space around")
    assert case.answer.status_code == 200
    assert case.paths() == {"/v1/metrics"}
    (point,) = case.metrics()["payment.request.latency"].histogram.data_points
    assert not point.exemplars
    assert not [each for each in case.lines if each["level"] != "info"]


def test_64_keys_arrive(told: Callable[[str], Told]) -> None:
    """All 64 resource attributes are on every signal, beside our own, and a single process is called what it was told."""
    for path in ("/v1/traces", "/v1/metrics", "/v1/logs"):
        resource = told("64 keys").resource(path)
        assert [f"key{n}" for n in range(63) if resource.get(f"key{n}") != "value"] == []
        assert resource["service.instance.id"] == "pod-1"


def test_a_name_in_any_letters_arrives(told: Callable[[str], Told]) -> None:
    """A service's name with letters, blanks and signs of any language is on every signal as it was given."""
    case = told("64 keys")
    assert {case.resource(f"/v1/{each.lower()}")["service.name"] for each in SIGNALS} == set(
        NAMED.values()
    )


def test_a_switched_off_sdk_sells(told: Callable[[str], Told]) -> None:
    """With ``OTEL_SDK_DISABLED=true`` nothing is sent, and the customer and the line on stdout notice nothing."""
    case = told("switched off")
    assert (case.answer.status_code, case.answer.json()["outcome"], case.paths()) == (
        200,
        "authorised",
        set(),
    )
    assert [each["http.response.status_code"] for each in case.lines if "http.route" in each] == [
        200
    ]


# --- Empty ---


@pytest.mark.parametrize("blank", ["", "  ", "\t"], ids=["empty", "blanks", "tab"])
@pytest.mark.parametrize("name", three_pillars.environment.DEFAULTS)
def test_an_empty_variable_leaves_our_default(
    monkeypatch: pytest.MonkeyPatch, name: str, blank: str
) -> None:
    """A standard variable that is empty, or blank, is an unset one: our own default holds."""
    monkeypatch.setenv(name, blank)
    three_pillars.environment.apply()
    assert os.environ[name] == three_pillars.environment.DEFAULTS[name]


@pytest.mark.parametrize(
    "said", ["", " ", ",", "http", "http/dup", "database", "database,http/dup", " database , http "]
)
def test_http_is_always_opted_in(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """The stable names of HTTP are in the list of what is opted in, once, and their old ones are not."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", said)
    three_pillars.environment.apply()
    chosen = [
        each.strip()
        for each in os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"].split(",")
        if each.strip()
    ]
    assert [each for each in chosen if "http" in each] == ["http"]
    assert ("database" in chosen) == ("database" in said)


@pytest.mark.parametrize("blank", ["", "  "], ids=["empty", "blanks"])
@pytest.mark.parametrize(
    "settings",
    [Checkout, Payment, three_pillar_demo.local_store.__main__.Settings],
    ids=["CHECKOUT_", "PAYMENT_", "STORE_"],
)
def test_our_own_empty_variables_are_unset_too(
    monkeypatch: pytest.MonkeyPatch,
    settings: type[Checkout | Payment | three_pillar_demo.local_store.__main__.Settings],
    blank: str,
) -> None:
    """Our own variables follow the rule of the standard ones: all of them empty, or blank, is all of them unset."""
    prefix = settings.model_config["env_prefix"]
    names = [f"{prefix}{each.upper()}" for each in settings.model_fields]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    unset = settings()
    for name in names:
        monkeypatch.setenv(name, blank)
    assert settings() == unset


@pytest.mark.parametrize("name", ["CHECKOUT_HOST", "TEMPO_HOST", "LOKI_HOST", "PROMETHEUS_HOST"])
def test_an_empty_host_is_this_machine(name: str) -> None:
    """A peer whose variable is empty is looked for where it is without the variable: on this machine."""
    program = "from three_pillar_demo.load import checkout_client; from three_pillar_demo.query.http_clients import HttpClients; print(checkout_client.CHECKOUT_URL, *HttpClients().urls.values())"
    env = os.environ | {name: ""}
    said = subprocess.run(
        [sys.executable, "-c", program],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert {url.rsplit(":", 1)[0] for url in said.stdout.split()} == {"http://127.0.0.1"}


# --- Where it leads ---


@contextmanager
def answering(status: int, location: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server that answers every POST with ``status``, and says where else to go; its address, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(self.path)
            self.send_response(status)
            if location:
                self.send_header("location", location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error(status: int) -> None:
    """An endpoint that answers with a redirect did not take the batch: the exporter fails, and says where the other one is."""
    with answering(status, "https://elsewhere.example/login") as (url, _):
        ours = session("TRACES")
        assert ours
        with ours, pytest.raises(requests.HTTPError, match=r"https://elsewhere\.example/login"):
            ours.request("POST", f"{url}/v1/traces", data=b"x", timeout=10, allow_redirects=False)


@pytest.mark.parametrize("status", [300, 302, 304, 308])
def test_a_redirect_to_nowhere_is_an_error_too(status: int) -> None:
    """A 3xx that does not say where to go took nothing either."""
    with answering(status) as (url, _):
        ours = session("LOGS")
        assert ours
        with ours, pytest.raises(requests.HTTPError):
            ours.request("POST", f"{url}/v1/logs", data=b"x", timeout=10, allow_redirects=False)


def test_a_redirect_is_said_once_a_batch(tmp_path: Path) -> None:
    """A service whose endpoints have moved says so on stdout, for each batch of each signal, with the address of the other."""
    never = dict.fromkeys(
        ("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"),
        "600000",
    )
    with (
        answering(308, "https://elsewhere.example/") as (url, _),
        serve("payment", tmp_path, url, **never) as payment,
    ):
        charge: dict[str, object] = {
            "order_id": "one",
            "amount": "1",
            "currency": "EUR",
            "card": "ordinary",
        }
        assert payment.post("/charges", charge).status_code == 200
        payment.stop(10)
        said = [each["event"] for each in payment.lines() if each["level"] == "error"]
    assert all("https://elsewhere.example/" in each for each in said), said
    kinds = {kind: sum(kind in each for each in said) for kind in ("spans", "metrics", "logs")}
    assert kinds == {"spans": 1, "metrics": 1, "logs": 1}, said


PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
NEAR = (
    "http://127.0.0.1:4318",
    "http://127.8.8.8:4318",
    "http://localhost:4318",
    "http://LocalHost:4318",
    "http://[::1]:4318",
    "http://otel-collector:4318",
    "https://otel-collector:4318",
)
FAR = (
    "http://collector.example.org:4318",
    "https://collector.example.org",
    "http://10.0.0.7:4318",
    "http://[2001:db8::1]:4318",
    "https://[2001:db8::1]",
)


class Route(BaseAdapter):
    """Sends nothing, and keeps which proxy and which certificates it was to use."""

    def send(self, request: requests.PreparedRequest, **known: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401
        """Answer 200."""
        self.verify = known["verify"]
        self.proxy = requests.utils.select_proxy(str(request.url), known["proxies"])
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = 200, request, str(request.url)
        answer._content = b""  # noqa: SLF001  (nothing to read)
        return answer

    def close(self) -> None:
        """Nothing is open."""


def proxy_of(endpoint: str) -> str | None:
    """The proxy that a batch for ``endpoint`` takes."""
    ours, route = session("TRACES"), Route()
    assert ours
    ours.mount("http://", route)
    ours.mount("https://", route)
    ours.request("POST", f"{endpoint}/v1/traces", data=b"x")
    proxy: str | None = route.proxy
    return proxy


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a machine without a proxy."""
    for name in (*PROXIES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("endpoint", NEAR)
def test_a_neighbour_is_reached_directly(
    monkeypatch: pytest.MonkeyPatch, name: str, endpoint: str
) -> None:
    """Telemetry for this machine or a peer of compose takes no proxy, whichever variable names one."""
    monkeypatch.setenv(name, "http://proxy.example.org:3128")
    assert proxy_of(endpoint) is None


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("endpoint", FAR)
def test_a_collector_elsewhere_is_reached_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch, name: str, endpoint: str
) -> None:
    """Telemetry for a Collector elsewhere takes the proxy of its scheme, or the one for all."""
    monkeypatch.setenv(name, "http://proxy.example.org:3128")
    meant = name.lower().split("_")[0] in {"all", endpoint.split(":", maxsplit=1)[0]}
    assert proxy_of(endpoint) == ("http://proxy.example.org:3128" if meant else None)


@pytest.mark.usefixtures("no_proxies")
def test_no_proxy_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Collector elsewhere that ``NO_PROXY`` names is reached directly."""
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example.org:3128")
    monkeypatch.setenv("NO_PROXY", "example.org")
    assert proxy_of("http://collector.example.org:4318") is None


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    "endpoint", ["https://otel-collector:4318", "https://collector.example.org:4318"]
)
def test_certificates_of_the_machine_hold_for_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str
) -> None:
    """``REQUESTS_CA_BUNDLE`` is obeyed for a neighbour as for a Collector elsewhere: only the proxy differs."""
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    ours, route = session("LOGS"), Route()
    assert ours
    ours.mount("https://", route)
    ours.request("POST", endpoint, data=b"x")
    assert route.verify == str(bundle)


def through(proxy: str) -> dict[str, str]:
    """The environment of a machine that has one proxy for everything."""
    return {**dict.fromkeys(PROXIES, proxy), "NO_PROXY": "", "no_proxy": ""}


def test_a_shop_behind_a_proxy_sells_and_tells(tmp_path: Path) -> None:
    """With a proxy set, checkout calls payment directly, lines and counts go to the machine's own Collector, spans far away."""
    with listening() as near, answering(200) as (proxy, asked):
        far = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector.example.org:4318/v1/traces"}
        with shop(tmp_path, near.url, **through(proxy), **far) as (checkout, payment):
            assert checkout.post("/checkout").json()["outcome"] == "success"
            with ThreadPoolExecutor(2) as both:
                list(both.map(lambda each: each.stop(10), (checkout, payment)))
    assert {path for path, _ in near.received} == {"/v1/metrics", "/v1/logs"}
    assert set(asked) == {"http://collector.example.org:4318/v1/traces"}


CLIENTS = {
    f"httpx2.{each}"
    for each in ("AsyncClient", "Client", "get", "post", "put", "head", "request", "stream")
}


def client_sources() -> list[Path]:
    """Every module outside the services that may make a client."""
    root = Path(three_pillar_demo.local_store.__main__.__file__).parent.parent
    return [path for part in ("demo", "backends", "local") for path in (root / part).rglob("*.py")]


@pytest.mark.parametrize(
    "path", client_sources(), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_clients_of_the_demo_look_for_no_proxy(path: Path) -> None:
    """Every client of the ``demo`` command and of the backends, all of which are neighbours, leaves the environment alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CLIENTS:
            given = {each.arg: ast.unparse(each.value) for each in node.keywords}
            assert given.get("trust_env") == "False", ast.unparse(node)


# --- Whose it is ---


def test_two_workers_are_told_apart(tmp_path: Path, sink: Sink) -> None:
    """Two workers under one ``service.instance.id`` stay two, in every signal, and the names of both begin with it."""
    often = {
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }
    named = {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=pod-1", "PAYMENT_WORKERS": "2"}
    asked = 0
    with serve("payment", tmp_path, sink.url, **often, **named) as payment:

        def both_served() -> bool:
            nonlocal asked
            with ThreadPoolExecutor(8) as customers:
                list(
                    customers.map(
                        lambda _: httpx2.get(f"{payment.url}/nowhere", trust_env=False), range(16)
                    )
                )
            asked += 16
            return len(sink.instances["payment"]) == 2

        wait_for("both workers to have said who they are", both_served)
        both_served()
        payment.stop(10)
    assert len(sink.instances["payment"]) == 2
    assert all(each.startswith("pod-1/") for each in sink.instances["payment"])
    assert sink.counted("payment") == asked


# --- The real backends ---


def test_loki_takes_the_widest_line_that_can_be_told() -> None:
    """Loki's limits are above what a line can have: 64 resource attributes and the SDK's 128, each of our longest length."""
    limits = yaml.safe_load(Path("config/loki.yaml").read_text())["limits_config"]
    assert limits["max_structured_metadata_entries_count"] >= 64 + 10 + 128
    assert limits["max_structured_metadata_size"] == "2MB"
    assert (
        128 * int(three_pillars.environment.DEFAULTS["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"])
        < 2_000_000
    )
    assert limits["max_line_size_truncate"] is True
