"""The checkout service."""

import three_pillars  # noqa: F401  (first: it looks at OTEL_* before anybody reads them)
