"""The standard ``OTEL_*`` variables: our defaults; and each value is obeyed, or refused in one line when the process starts.

Imported first: OpenTelemetry reads some of them while it is imported, and ends with a traceback on what it does not like.
"""

import os
import re
import sys

DEFAULTS = {
    # The SDK waits 5 s with spans and 60 s with metrics; somebody who just clicked is waiting for them.
    "OTEL_BSP_SCHEDULE_DELAY": "1000",
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    # Seconds, whatever the specification says. The exporter tries again after 1, 2, 4, 8 s, and gives a batch up when the next
    # pause would end behind this: the default, 10, loses what was sent while a Collector was gone for 7 s.
    "OTEL_EXPORTER_OTLP_TIMEOUT": "30",
    # Loki refuses an entry over 64 KiB of metadata, and what is refused is not sent again.
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "8192",
    # The SDK's default obeys a stranger who says "not sampled", and hands out a trace id that is in no trace.
    "OTEL_TRACES_SAMPLER": "always_on",
}
"""Defaults of ours for standard variables; what the environment says wins."""

PAIRS = r"\s*[^=,\s]+\s*=[^,]*"
RULES = (
    (r"(BSP|BLRP)_\w+|METRIC_EXPORT_(INTERVAL|TIMEOUT)", r"[1-9]\d{0,8}", "a whole number, 1 or more"),
    (r"\w+_LIMIT", r"\d{1,9}|unset", "a whole number, or unset"),
    (r"EXPORTER_OTLP_(\w+_)?TIMEOUT", r"\d{1,6}(\.\d+)?", "a number of seconds"),
    (r"EXPORTER_OTLP_(\w+_)?ENDPOINT", r"https?://(\[[\da-fA-F:]+\]|[\w.-]+)(:\d{1,5})?(/\S*)?", "like http://host:4318"),
    (r"EXPORTER_OTLP_(\w+_)?PROTOCOL", "http/protobuf", "http/protobuf"),
    (r"EXPORTER_OTLP_(\w+_)?COMPRESSION", "none|gzip|deflate", "none, gzip or deflate"),
    (r"EXPORTER_OTLP_(\w+_)?HEADERS", rf"{PAIRS}(,{PAIRS})*,?", "name=value, comma-separated"),
    # loki.yaml lets a line have 256 pieces of metadata: these, and the SDK's 128 attributes of the line itself.
    ("RESOURCE_ATTRIBUTES", rf"{PAIRS}(,{PAIRS}){{0,63}},?", "name=value, comma-separated, at most 64"),
    ("(TRACES|METRICS|LOGS)_EXPORTER", "otlp|none", "otlp or none"),
    # With none the ASGI instrumentation has no context to start a span in, and every request fails.
    ("PROPAGATORS", "(tracecontext|baggage)( *, *(tracecontext|baggage))*", "tracecontext, baggage or both"),
    ("METRICS_EXEMPLAR_FILTER", "always_on|always_off|trace_based", "always_on, always_off or trace_based"),
    (
        "TRACES_SAMPLER",
        "(parentbased_)?(always_on|always_off|traceidratio)",
        "(parentbased_)always_on, always_off, traceidratio",
    ),
    ("TRACES_SAMPLER_ARG", r"0?\.\d+|0|1(\.0*)?", "a share, 0 to 1"),
    (r"\w+_TEMPORALITY_PREFERENCE", "(?i:cumulative|delta|lowmemory)", "cumulative, delta or lowmemory"),
    # The rules, the dashboards and the embedded store count in buckets with bounds.
    (r"\w+_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram", "explicit_bucket_histogram"),
    ("SDK_DISABLED", "(?i:true|false)", "true or false"),
    (r"PYTHON_(\w+_)?EXCLUDED_URLS", "(?!)", "none: telemetry.QUIET_PATHS holds for all three pillars"),
)
"""Names behind ``OTEL_``, values, and what is allowed in words. Other values the SDK ignores, some with a traceback."""


def apply() -> None:
    """Unset what is empty, refuse what is wrong, and set our defaults; ends the process when something is refused."""
    problems = []
    for name, value in [(each, os.environ[each].strip()) for each in os.environ if each.startswith("OTEL_")]:
        if not value:  # the specification: an empty variable is an unset one
            del os.environ[name]
        for names, values, allowed in RULES:
            if value and re.fullmatch(f"OTEL_{names}", name) and not re.fullmatch(values, value):
                shown = "..." if name.endswith("HEADERS") else ascii(value)[1:-1][:80]  # never what may be a secret
                problems.append(f"{name}={shown}: allowed is {allowed}\n")
    if problems:
        sys.stderr.write("".join(problems))
        sys.exit(2)
    os.environ.update({name: value for name, value in DEFAULTS.items() if name not in os.environ})
    # The old conventions put the client's Host header on metrics, where a stranger could make series without end.
    chosen = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = ",".join(["http", *(each for each in chosen if "http" not in each)]).strip(
        ","
    )


apply()
