"""The standard ``OTEL_*`` variables: our defaults; and each value is obeyed, or refused in one line when the process starts.

Imported first: OpenTelemetry reads some of them while it is imported, and ends with a traceback on what it does not like.
"""

import os
import re
import sys
from collections.abc import Callable

DEFAULTS = {
    # The SDK waits 5 s with spans and 60 s with metrics; somebody who just clicked is waiting for them.
    "OTEL_BSP_SCHEDULE_DELAY": "1000",
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    # What waits while nobody takes it: four minutes of ten checkouts a second, some 30 MB.
    "OTEL_BSP_MAX_QUEUE_SIZE": "8192",
    "OTEL_BLRP_MAX_QUEUE_SIZE": "8192",
    # Loki refuses an entry over 64 KiB of metadata, and what is refused is not sent again.
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "8192",
    # The SDK's default obeys a stranger who says "not sampled", and hands out a trace id that is in no trace.
    "OTEL_TRACES_SAMPLER": "always_on",
}
"""Defaults of ours for standard variables; what the environment says wins."""

PORT = r"(:([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5]))?"
PAIR, HEADER = (
    r"\s*[^=,\s]{1,255}\s*=[^,]{0,1024}",
    r"\s*[\w!#$%&'*+.^`|~-]+\s*=[ !#-+\--:<-\[\]-~]*",
)
DETECTOR = r"\s*(otel|process|os|host|service_instance|\*)\s*"
RULES: tuple[tuple[str, str | Callable[[str], bool], str], ...] = (
    (
        r"(BSP|BLRP)_\w+|METRIC_EXPORT_(INTERVAL|TIMEOUT)",
        r"[1-9]\d{0,8}",
        "a whole number, 1 or more",
    ),
    # loki.yaml lets a line have 256 pieces of metadata: the resource's, and its own.
    (
        "(LOGRECORD_)?ATTRIBUTE_COUNT_LIMIT",
        r"\d{1,2}|1[01]\d|12[0-8]",
        "a whole number, at most 128",
    ),
    (
        "RESOURCE_ATTRIBUTES",
        f"{PAIR}(,{PAIR}){{0,63}},?",
        "name=value, comma-separated, at most 64, values at most 1024 long",
    ),
    (r"\w+_LIMIT", r"\d{1,9}", "a whole number"),
    (r"EXPORTER_OTLP_(\w+_)?TIMEOUT", r"(?=.*[1-9])\d{1,6}(\.\d+)?", "a number of seconds, over 0"),
    (
        r"EXPORTER_OTLP_(\w+_)?ENDPOINT",
        rf"https?://(\[[\da-fA-F:]+\]|[\w.-]+){PORT}(/\S*)?",
        "like http://host:4318",
    ),
    (r"EXPORTER_OTLP_(\w+_)?PROTOCOL", "http/protobuf", "http/protobuf"),
    (r"EXPORTER_OTLP_(\w+_)?COMPRESSION", "none|gzip|deflate", "none, gzip or deflate"),
    (
        r"EXPORTER_OTLP_(\w+_)?HEADERS",
        f"(?!.*%0[AaDd]){HEADER}(,{HEADER})*,?",
        "name=value, comma-separated",
    ),
    (
        r"EXPORTER_OTLP_(\w+_)?(CERTIFICATE|CLIENT_KEY)",
        lambda value: os.access(value, os.R_OK),
        "a file that can be read",
    ),
    ("(TRACES|METRICS|LOGS)_EXPORTER", "otlp|none", "otlp or none"),
    # With none the ASGI instrumentation has no context to start a span in, and every request fails.
    (
        "PROPAGATORS",
        "(tracecontext|baggage)( *, *(tracecontext|baggage))*",
        "tracecontext, baggage or both",
    ),
    (
        "METRICS_EXEMPLAR_FILTER",
        "always_on|always_off|trace_based",
        "always_on, always_off or trace_based",
    ),
    (
        "TRACES_SAMPLER",
        "(parentbased_)?(always_on|always_off|traceidratio)",
        "always_on, always_off, traceidratio, parentbased_...",
    ),
    ("TRACES_SAMPLER_ARG", r"0?\.\d+|0|1(\.0*)?", "a share, 0 to 1"),
    # Prometheus refuses deltas, or with a feature of its own loses count of what is not told of for five minutes.
    (r"\w+_TEMPORALITY_PREFERENCE", "(?i:cumulative)", "cumulative"),
    # The rules, the dashboards and the embedded store count in buckets with bounds.
    (r"\w+_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram", "explicit_bucket_histogram"),
    ("SDK_DISABLED|PYTHON_SDK_INTERNAL_METRICS_ENABLED", "(?i:true|false)", "true or false"),
    ("SERVICE_NAME", ".{1,255}", "at most 255 characters"),
    (
        "EXPERIMENTAL_RESOURCE_DETECTORS",
        f"{DETECTOR}(,{DETECTOR})*",
        "otel, process, os, host, service_instance",
    ),
    ("PYTHON_CONTEXT", "contextvars_context", "contextvars_context"),
    (
        r"CONFIG_FILE|PYTHON_(ID_GENERATOR|\w+_(CONFIGURATOR|PROVIDER))",
        "(?!)",
        "none: telemetry/ says it in code",
    ),
    (
        r"PYTHON_(\w+_)?EXCLUDED_URLS",
        "(?!)",
        "none: telemetry.QUIET_PATHS holds for all three pillars",
    ),
    (
        r"\w+_HTTP_CAPTURE_HEADERS_\w+",
        lambda value: all(map(_is_pattern, value.split(","))),
        "regular expressions",
    ),
    (r"\w+", str.isprintable, "text in UTF-8, in one line"),
)
"""Names behind ``OTEL_``, values, and what is allowed in words. Other values the SDK ignores, some with a traceback."""


def apply() -> None:
    """Unset what is empty, refuse what is wrong, and set our defaults; ends the process when something is refused."""
    ours = {
        name: os.environ.pop(name).strip()
        for name in sorted(os.environ)
        if name.startswith("OTEL_")
    }
    os.environ.update(
        {name: value for name, value in ours.items() if value}
    )  # the specification: an empty one is unset
    problems: dict[str, str] = {}
    for name, value in ours.items():
        for names, allowed, words in RULES:
            fits = re.compile(allowed).fullmatch if isinstance(allowed, str) else allowed
            if value and re.fullmatch(f"OTEL_({names})", name) and not fits(value):
                problems.setdefault(
                    name,
                    f"{name}={shown(value, secret=name.endswith('HEADERS'))}: allowed is {words}\n",
                )
    for kind in () if problems else ("BSP", "BLRP"):
        batch, size = (f"OTEL_{kind}_MAX_{what}_SIZE" for what in ("EXPORT_BATCH", "QUEUE"))
        if int(os.environ.get(batch, "512")) > int(os.environ.get(size, DEFAULTS[size])):
            name = batch if batch in ours else size
            problems[name] = (
                f"{name}={ours[name]}: allowed is a batch (512 by default) no greater than its queue (8192)\n"
            )
    if problems:
        sys.stderr.write("".join(problems.values()))
        sys.exit(2)
    os.environ.update({name: value for name, value in DEFAULTS.items() if name not in os.environ})
    # The old conventions put the client's Host header on metrics, where a stranger could make series without end.
    chosen = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")
    others = [each for each in chosen if each and "http" not in each]
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = ",".join(["http", *others])


def shown(value: str, *, secret: bool = False) -> str:
    """Return ``value`` for a message: in one line, cut, and never what may be a secret."""
    return "..." if secret or "@" in value else ascii(value)[1:-1][:80]


def _is_pattern(value: str) -> bool:
    try:
        return bool(re.compile(value.strip()))
    except re.error:
        return False


apply()
