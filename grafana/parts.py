"""Building blocks of the dashboards: functions that make a dashboard, a panel or a query."""

from collections.abc import Iterable, Mapping
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    logs,
    nodegraph,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import loki as loki_queries
from grafana_foundation_sdk.builders import prometheus as prometheus_queries
from grafana_foundation_sdk.builders import tempo as tempo_queries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import prometheus as prometheus_kinds
from grafana_foundation_sdk.models import tempo as tempo_kinds
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    FieldColorModeId,
    GridPos,
    Panel,
    Threshold,
    ThresholdsMode,
)

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
TEMPO = DataSourceRef(type_val="tempo", uid="tempo")
LOKI = DataSourceRef(type_val="loki", uid="loki")
MIXED = DataSourceRef(type_val="datasource", uid="-- Mixed --")

GREEN = "green"
ORANGE = "orange"
RED = "red"
BLUE = "blue"
GREY = "#8e8e8e"

REFIDS = "ABCDEFGHIJ"
"""The names (Grafana's ``refId``) that the queries of a panel get, in order."""
Query = Builder[Any]
Properties = dict[str, object]


def dashboard(uid: str, title: str, description: str) -> build.Dashboard:
    """Return a dashboard without panels, with a link to the other dashboards of this project.

    The default time range is the last 15 minutes.
    """
    links = (
        build.DashboardLink("Other dashboards").type(DashboardLinkType.DASHBOARDS).tags(["shop"])
    )
    return (
        build.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["shop"])
        .timezone("browser")
        .time("now-15m", "now")
        .refresh("10s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(links.keep_time(keep_time=True))
    )


def with_rows(
    board: build.Dashboard, rows: Iterable[tuple[str, Iterable[Builder[Panel]]]]
) -> build.Dashboard:
    """Add rows to ``board`` and return it; each row is a title and its panels."""
    for title, panels in rows:
        board = board.with_row(build.Row(title))
        for panel in panels:
            board = board.with_panel(panel)
    return board


def promql(expr: str, legend: str = "", *, exemplars: bool = False) -> prometheus_queries.Dataquery:
    """Return a Prometheus range query, which gives a line over the time range of the dashboard."""
    return (
        prometheus_queries.Dataquery()
        .expr(expr)
        .legend_format(legend)
        .range()
        .exemplar(exemplars)
        .datasource(PROMETHEUS)
    )


def promql_instant(expr: str, legend: str = "") -> prometheus_queries.Dataquery:
    """Return a Prometheus instant query, which gives one value at the end of the time range.

    ``$__range`` in ``expr`` stands for the length of the time range of the dashboard.
    """
    return (
        prometheus_queries.Dataquery()
        .expr(expr)
        .legend_format(legend)
        .instant()
        .datasource(PROMETHEUS)
    )


def buckets(expr: str) -> prometheus_queries.Dataquery:
    """Return a query of histogram buckets, with exemplars, for a heatmap.

    The result of ``expr`` must have the label ``le``, the upper bound of a bucket.
    """
    query = promql(expr, "{{le}}", exemplars=True)
    return query.format(prometheus_kinds.PromQueryFormat.HEATMAP)


def logql(expr: str, legend: str = "", kind: str = "range") -> loki_queries.Dataquery:
    """Return a Loki query; ``kind`` is ``range`` or ``instant``."""
    return (
        loki_queries.Dataquery().expr(expr).legend_format(legend).query_type(kind).datasource(LOKI)
    )


def traceql(query: str, limit: int = 20) -> tempo_queries.TempoQuery:
    """Return a Tempo search of at most ``limit`` traces, with one table row for each span.

    If ``query`` is a trace id instead of TraceQL, Tempo returns that trace.
    """
    search = tempo_queries.TempoQuery().query_type("traceql").query(query).limit(limit)
    return search.table_type(tempo_kinds.SearchTableType.SPANS).datasource(TEMPO)


def service_graph() -> tempo_queries.TempoQuery:
    """Return the query for the service graph, which Tempo derives from spans."""
    return tempo_queries.TempoQuery().query_type("serviceMap").datasource(TEMPO)


def thresholds(*colours: str | tuple[float, str]) -> build.ThresholdsConfig:
    """Return the thresholds that colour a panel.

    The first argument is the colour below all thresholds; each further one is a pair of a value and
    the colour from this value on.
    """
    steps = []
    for colour in colours:
        if isinstance(colour, str):
            steps.append(Threshold(color=colour))
        else:
            steps.append(Threshold(value=colour[0], color=colour[1]))
    return build.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


class FinishedPanel(Builder[Panel]):
    """A complete panel in the form that a dashboard of the Grafana SDK accepts: a builder."""

    def __init__(
        self,
        panel: Panel,
        title: str,
        description: str,
        size: tuple[int, int],
        queries: Iterable[Query],
    ) -> None:
        """Set title, description, size and queries of ``panel``.

        ``size`` is (width, height) in Grafana's grid units; a dashboard is 24 units wide.
        """
        self.panel = panel
        panel.title = title
        panel.description = description
        panel.grid_pos = GridPos(w=size[0], h=size[1])
        # The SDK's type for any query declares no fields, but every query has these two.
        targets: list[Any] = [query.build() for query in queries]
        for name, target in zip(REFIDS, targets, strict=False):
            target.ref_id = name
        panel.targets = targets
        sources = [target.datasource for target in targets]
        if sources:
            same = all(source is sources[0] for source in sources)
            panel.datasource = sources[0] if same else MIXED

    def build(self) -> Panel:
        """Return the panel; a dashboard calls this method of each of its panels."""
        return self.panel


def number(  # noqa: PLR0913  (the settings of a panel)
    title: str,
    description: str,
    query: Query,
    unit: str,
    limits: build.ThresholdsConfig,
    *,
    size: tuple[int, int] = (4, 4),
    decimals: int | None = None,
) -> FinishedPanel:
    """Return a panel with one number, coloured by ``limits``; a range query adds a sparkline."""
    panel = stat.Panel().unit(unit).thresholds(limits).graph_mode(kinds.BigValueGraphMode.AREA)
    panel = panel.color_mode(kinds.BigValueColorMode.VALUE).text_mode(kinds.BigValueTextMode.VALUE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).no_value("0")
    if decimals is not None:
        panel = panel.decimals(decimals)
    return FinishedPanel(panel.build(), title, description, size, [query])


def time_series(  # noqa: PLR0913  (the settings of a panel)
    title: str,
    description: str,
    queries: Iterable[Query],
    unit: str,
    *,
    size: tuple[int, int] = (8, 8),
    limits: build.ThresholdsConfig | None = None,
    colours: dict[str, str] | None = None,
    stacked: bool = False,
    dashed: Iterable[str] = (),
    fill: int = 6,
) -> FinishedPanel:
    """Return a panel with lines over time, or with stacked bars if ``stacked`` is set.

    ``limits`` are drawn as dashed horizontal lines. ``colours`` gives colours to series and
    ``dashed`` makes lines dashed; both select series by regular expressions for the legend.
    ``fill`` is the opacity of the area below a line in percent.
    """
    panel = (
        timeseries.Panel()
        .unit(unit)
        .min(0)
        .line_width(2)
        .fill_opacity(fill)
        .show_points(kinds.VisibilityMode.NEVER)
    )
    panel = panel.legend(
        common.VizLegendOptions()
        .display_mode(kinds.LegendDisplayMode.LIST)
        .placement(kinds.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
    )
    panel = panel.tooltip(
        common.VizTooltipOptions()
        .mode(kinds.TooltipDisplayMode.MULTI)
        .sort(kinds.SortOrder.DESCENDING)
    )
    panel = panel.thresholds(limits or thresholds(GREEN))
    if limits:
        panel = panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
        )
    if stacked:
        panel = panel.draw_style(kinds.GraphDrawStyle.BARS).fill_opacity(70).line_width(1)
        panel = panel.stacking(
            common.StackingConfig().mode(kinds.StackingMode.NORMAL).group("A")
        ).interval("10s")
    for legend, colour in (colours or {}).items():
        fixed: Properties = {"mode": FieldColorModeId.FIXED, "fixedColor": colour}
        panel = panel.override_by_regexp(f"/{legend}/", [DynamicConfigValue("color", fixed)])
    for legend in dashed:
        line: Properties = {"fill": "dash", "dash": [6, 6]}
        flat = [
            DynamicConfigValue("custom.lineStyle", line),
            DynamicConfigValue("custom.fillOpacity", 0),
        ]
        panel = panel.override_by_regexp(f"/{legend}/", flat)
    return FinishedPanel(panel.build(), title, description, size, queries)


def bars(
    title: str,
    description: str,
    queries: Mapping[str, Query],
    size: tuple[int, int],
    limits: build.ThresholdsConfig,
) -> FinishedPanel:
    """Return a panel with a horizontal bar for each query, labelled with the key of the query.

    The result of each query is one duration in seconds.
    """
    panel = (
        bargauge.Panel()
        .unit("s")
        .thresholds(limits)
        .min(0)
        .orientation(kinds.VizOrientation.HORIZONTAL)
    )
    panel = panel.display_mode(kinds.BarGaugeDisplayMode.BASIC).value_mode(
        kinds.BarGaugeValueMode.TEXT
    )
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    for refid, name in zip(REFIDS, queries, strict=False):
        # Grafana ignores the legendFormat of an instant query to Loki, so the name is an override.
        panel = panel.override_by_query(refid, [DynamicConfigValue("displayName", name)])
    return FinishedPanel(panel.build(), title, description, size, queries.values())


def heat_map(title: str, description: str, query: Query, size: tuple[int, int]) -> FinishedPanel:
    """Return a heatmap of durations in seconds over time; ``query`` is made by ``buckets()``."""
    panel = (
        heatmap.Panel().unit("s").calculate(calculate=False).y_axis(heatmap.YAxisConfig().unit("s"))
    )
    return FinishedPanel(panel.build(), title, description, size, [query])


def log_records(title: str, description: str, query: Query, size: tuple[int, int]) -> FinishedPanel:
    """Return a panel with log records, newest first; a click on one shows its fields and links."""
    panel = (
        logs.Panel()
        .show_time(show_time=True)
        .enable_log_details(enable_log_details=True)
        .wrap_log_message(wrap_log_message=True)
    )
    panel = panel.sort_order(kinds.LogsSortOrder.DESCENDING)
    return FinishedPanel(panel.build(), title, description, size, [query])


def table_of(
    title: str,
    description: str,
    query: Query,
    size: tuple[int, int],
    columns: dict[str, Properties],
) -> FinishedPanel:
    """Return a table panel with the result of ``query``.

    ``columns`` are Grafana's field properties, such as ``displayName`` and ``unit``, by column
    name.
    """
    panel = table.Panel().cell_height(kinds.TableCellHeight.SM).unit("short")
    for name, properties in columns.items():
        panel = panel.override_by_name(
            name, [DynamicConfigValue(key, value) for key, value in properties.items()]
        )
    return FinishedPanel(panel.build(), title, description, size, [query])


def node_graph(title: str, description: str, query: Query, size: tuple[int, int]) -> FinishedPanel:
    """Return a panel that draws the result of ``query`` as a graph of nodes and edges."""
    return FinishedPanel(nodegraph.Panel().build(), title, description, size, [query])


def trace_panel(title: str, description: str, query: Query, size: tuple[int, int]) -> FinishedPanel:
    """Return a panel with the spans of one trace; ``query`` fetches this trace from Tempo."""
    return FinishedPanel(build.Panel().type("traces").build(), title, description, size, [query])
