"""The state of the page of metrics, which is kept only in the query parameters of its address."""

from pydantic import Field

from three_pillar_demo.web.view_state import ViewState


class MetricState(ViewState):
    """What a visitor has chosen to see of the metrics, one field for each query parameter.

    Of the fields of ``ViewState``, the page uses ``minutes``, ``service`` and ``still``.
    """

    metric: str = Field(
        "", max_length=512, description="the name of a metric, at most 512 characters"
    )
    by: str = Field(
        "",
        max_length=256,
        description="the label whose values the chart tells apart, at most 256 characters",
    )
    find: str = Field(
        "",
        max_length=100,
        description="a text of at most 100 characters that the listed metrics contain",
    )
    quantile: str = Field(
        "",
        pattern=r"^(p[0-9]{1,3}([.][0-9]{1,9})?)?$",
        description="a quantile, such as p99 or p99.9, that is shown by label; p95 by default",
    )

    def elsewhere(self) -> ViewState:
        """Return the state for links to other pages: what all pages have in common."""
        return ViewState(minutes=self.minutes, service=self.service, still=self.still)
