"""The example shops in four languages: how each is started, and what is expected of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.clients import installation
from tests.clients.programs import EXPORT_SOON, Program, running, wait_listening
from tests.clients.store import ClientStore, running_store
from tests.private_ports import free_port
from three_pillar_demo.trace_view.view import TraceView

REQUEST_TIMEOUT_S = 60
ERROR_MESSAGE = "the stock database is away"
EXPONENTIAL = {
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
        "base2_exponential_bucket_histogram"
    )
}
STABLE_NAMES = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
GRPC = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
# Otherwise Node.js asks addresses of cloud providers where it runs.
NO_CLOUD = {"OTEL_NODE_RESOURCE_DETECTORS": "env,host,os,process,serviceinstance"}
GZIP = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}


@dataclass(frozen=True)
class Client:
    """An example shop: two processes of one program, which are called shop and stock.

    Attributes:
        name: The name in the environment variable ``CLIENTS``.
        source: The folder of the program.
        install: Installs the program into a copy of that folder.
        command: The command that runs the program in that copy.
        language: The resource attribute ``telemetry.sdk.language``.
        file: The file of the program that a stack trace of a failed request names.
        error: The type of the exception of a failed request; its message is ``ERROR_MESSAGE``.
        reason: What the trace view says that stock did when a request failed.
        default_protocol: The OTLP protocol that the SDK uses where no variable names one.
        exemplars: Whether the SDK sends exemplars.
        shop: The environment variables of the process that is called shop.
        stock: The environment variables of the process that is called stock.
    """

    name: str
    source: Path
    install: Callable[[Path], None]
    command: Callable[[Path, int], list[str]]
    language: str
    file: str
    error: str
    reason: str
    default_protocol: str
    exemplars: bool
    shop: Mapping[str, str] = field(default_factory=dict)
    stock: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shop:
    """The running processes of a client, and the URL of the one that is called shop."""

    url: str
    programs: tuple[Program, ...]


@dataclass(frozen=True)
class Visit:
    """The shop of ``client`` after one request that succeeded and one that failed."""

    client: Client
    store: ClientStore
    programs: tuple[Program, ...]


def flask_command(folder: Path, port: int) -> list[str]:
    """Return the command of Python's zero-code instrumentation."""
    scripts = folder / "venv" / "bin"
    flask = ["flask", "--app", "app", "run", "--port", str(port)]
    return [str(scripts / "opentelemetry-instrument"), str(scripts / flask[0]), *flask[1:]]


def express_command(_folder: Path, _port: int) -> list[str]:
    """Return the command of Node.js' auto-instrumentations."""
    return ["node", "--require", "@opentelemetry/auto-instrumentations-node/register", "app.js"]


def go_command(folder: Path, _port: int) -> list[str]:
    """Return the command of the Go program."""
    return [str(folder / "program")]


def java_command(_folder: Path, _port: int) -> list[str]:
    """Return the command of the Java agent; a small heap, and the fast start of a small JVM."""
    small = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    return ["java", *small, "-javaagent:opentelemetry-javaagent.jar", "-cp", ".", "Shop"]


# The distribution of Python exports over gRPC unless a variable says otherwise.
PYTHON = Client(
    "python",
    installation.EXAMPLES / "flask_app",
    installation.install_flask,
    flask_command,
    "python",
    "app.py",
    "ConnectionError",
    f"raised ConnectionError: {ERROR_MESSAGE}",
    "grpc",
    exemplars=True,
    stock=HTTP | GZIP | EXPONENTIAL,
)
# OTLP over HTTP with protobuf is the default of Node.js and of the Java agent.
NODE = Client(
    "node",
    installation.EXAMPLES / "express_app",
    installation.install_node,
    express_command,
    "nodejs",
    "app.js",
    "Error",
    f"raised Error: {ERROR_MESSAGE}",
    "http/protobuf",
    exemplars=False,
    shop=NO_CLOUD,
    stock=NO_CLOUD | GRPC | GZIP,
)
GO = Client(
    "go",
    installation.EXAMPLES / "go_app",
    installation.install_go,
    go_command,
    "go",
    "main.go",
    "errorString",
    f'logged "{ERROR_MESSAGE}"',
    "grpc",
    exemplars=True,
    stock=GZIP | EXPONENTIAL,
)
JAVA = Client(
    "java",
    installation.EXAMPLES / "java_app",
    installation.install_java,
    java_command,
    "java",
    "Shop.java",
    "IllegalStateException",
    f"raised IllegalStateException: {ERROR_MESSAGE}",
    "http/protobuf",
    exemplars=True,
    stock=GRPC | GZIP | EXPONENTIAL,
)
CLIENTS = (PYTHON, NODE, GO, JAVA)


@contextmanager
def visited(client: Client, folder: Path) -> Iterator[Visit]:
    """Run a store and the shop of ``client``, and send the shop two requests.

    The first request buys a teapot and succeeds, the second one buys a unicorn and fails. Both
    processes run until the end of the block.
    """
    installed = installation.installed(client.name, client.source, client.install)
    with running_store(folder) as store, running_shop(client, installed, store, folder) as shop:
        for item, status in (("teapot", 200), ("unicorn", 500)):
            url = f"{shop.url}/buy/{item}"
            answer = httpx2.get(url, timeout=REQUEST_TIMEOUT_S, trust_env=False)
            assert answer.status_code == status, f"{url}: {answer.text}"
        yield Visit(client, store, shop.programs)


def bought(visit: Visit, *, failed: bool) -> TraceView:
    """Wait until the trace of the request is whole, with the log record of stock; return it."""
    store = visit.store

    def view() -> TraceView | None:
        ids = [
            trace_id
            for trace_id in store.requests("shop")
            if (trace_id in store.requests("shop", failed=True)) == failed
        ]
        return store.view(ids[0]) if ids else None

    def is_whole() -> bool:
        found = view()
        if not found:
            return False
        services = {span.service for span in found.spans if span.kind == "SERVER"}
        span_ids = {span.span_id for span in found.spans} | {""}
        return (
            services == {"shop", "stock"}
            and all(span.parent_id in span_ids for span in found.spans)
            and any(record.service == "stock" for record in found.logs)
        )

    outcome = "failed" if failed else "successful"
    store.wait_until(f"the {outcome} request of {visit.client.name} in both services", is_whole)
    found = view()
    assert found
    return found


@contextmanager
def running_shop(
    client: Client, installed: Path, store: ClientStore, folder: Path, **settings: str
) -> Iterator[Shop]:
    """Run both processes of ``client`` until the end of the block; they send to ``store``.

    ``installed`` is the folder of the program, ``folder`` that of the output files, and
    ``settings`` are further environment variables.
    """
    ports = {"shop": free_port(), "stock": free_port()}
    stock_url = f"http://127.0.0.1:{ports['stock']}"
    programs: dict[str, Program] = {}
    with ExitStack() as stack:
        for service, own in (("shop", client.shop), ("stock", client.stock)):
            environment = {
                "PORT": str(ports[service]),
                "STOCK_URL": stock_url,
                "OTEL_SERVICE_NAME": service,
                **EXPORT_SOON,
                **STABLE_NAMES,
                **endpoint(store, client, own),
                **own,
                **settings,
            }
            command = client.command(installed, ports[service])
            output = folder / f"{client.name}-{service}.log"
            programs[service] = stack.enter_context(
                running(command, installed, output, environment)
            )
        for service, program in programs.items():
            wait_listening(program, ports[service])
        yield Shop(f"http://127.0.0.1:{ports['shop']}", tuple(programs.values()))


def endpoint(store: ClientStore, client: Client, own: Mapping[str, str]) -> dict[str, str]:
    """Return the endpoint for the protocol that the process uses: its own, or its default."""
    protocol = own.get("OTEL_EXPORTER_OTLP_PROTOCOL", client.default_protocol)
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": store.grpc if protocol == "grpc" else store.http}
