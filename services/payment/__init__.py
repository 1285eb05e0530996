"""The simulated payment service."""

import telemetry  # noqa: F401  (first: it looks at OTEL_* before anybody reads them)
