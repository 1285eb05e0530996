"""What every dashboard is made of: panels with a sentence and a unit, and one way to ask each data source."""

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
    text,
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

GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "#8e8e8e"

REFIDS = "ABCDEFGHIJ"
Query = Builder[Any]
Properties = dict[str, object]


def dashboard(uid: str, title: str, description: str) -> build.Dashboard:
    """An empty dashboard that shows the last quarter of an hour, moves with the others in time, and links to them."""
    others = (
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
        .link(others.keep_time(keep_time=True))
    )


def promql(expr: str, legend: str = "", *, exemplars: bool = False) -> prometheus_queries.Dataquery:
    """A question to Prometheus, over the dashboard's time."""
    return (
        prometheus_queries.Dataquery()
        .expr(expr)
        .legend_format(legend)
        .range()
        .exemplar(exemplars)
        .datasource(PROMETHEUS)
    )


def promql_now(expr: str, legend: str = "") -> prometheus_queries.Dataquery:
    """A question to Prometheus about this moment, or with ``$__range`` about the whole time at once."""
    return (
        prometheus_queries.Dataquery()
        .expr(expr)
        .legend_format(legend)
        .instant()
        .datasource(PROMETHEUS)
    )


def buckets(expr: str) -> prometheus_queries.Dataquery:
    """A histogram's buckets, for a heatmap; with exemplars."""
    heat = promql(expr, "{{le}}", exemplars=True)
    return heat.format(prometheus_kinds.PromQueryFormat.HEATMAP)


def logql(expr: str, legend: str = "", kind: str = "range") -> loki_queries.Dataquery:
    """A question to Loki; ``kind`` is range or instant."""
    return (
        loki_queries.Dataquery().expr(expr).legend_format(legend).query_type(kind).datasource(LOKI)
    )


def traceql(query: str, limit: int = 20) -> tempo_queries.TempoQuery:
    """A search in Tempo, one row for each span found; or, when ``query`` is a trace id, that trace."""
    asked = tempo_queries.TempoQuery().query_type("traceql").query(query).limit(limit)
    return asked.table_type(tempo_kinds.SearchTableType.SPANS).datasource(TEMPO)


def service_map() -> tempo_queries.TempoQuery:
    """Who calls whom."""
    return tempo_queries.TempoQuery().query_type("serviceMap").datasource(TEMPO)


def steps(*colours: str | tuple[float, str]) -> build.ThresholdsConfig:
    """Thresholds: the first colour, then (from this value on, this colour)."""
    found = [
        Threshold(color=each) if isinstance(each, str) else Threshold(value=each[0], color=each[1])
        for each in colours
    ]
    return build.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


class Ready(Builder[Panel]):
    """A panel with its title, its sentence, its size and its questions."""

    def __init__(
        self, panel: Panel, title: str, says: str, size: tuple[int, int], queries: Iterable[Query]
    ) -> None:
        """Complete ``panel``; ``says`` is what a reader learns from it, ``size`` its width (of 24) and height."""
        self.panel = panel
        panel.title, panel.description = title, says
        panel.grid_pos = GridPos(w=size[0], h=size[1])
        # The SDK's own type for a query of any data source has no fields, though each of them has these two.
        asked: list[Any] = [query.build() for query in queries]
        for name, target in zip(REFIDS, asked, strict=False):
            target.ref_id = name
        panel.targets = asked
        sources = [target.datasource for target in asked]
        if sources:
            panel.datasource = sources[0] if all(each is sources[0] for each in sources) else MIXED

    def build(self) -> Panel:
        """The panel."""
        return self.panel


def number(  # noqa: PLR0913  (a panel is its settings)
    title: str,
    says: str,
    query: Query,
    unit: str,
    limits: build.ThresholdsConfig,
    *,
    size: tuple[int, int] = (4, 4),
    decimals: int | None = None,
) -> Ready:
    """One big number, coloured by its thresholds; its course over time behind it when the query has one."""
    panel = stat.Panel().unit(unit).thresholds(limits).graph_mode(kinds.BigValueGraphMode.AREA)
    panel = panel.color_mode(kinds.BigValueColorMode.VALUE).text_mode(kinds.BigValueTextMode.VALUE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).no_value("0")
    if decimals is not None:
        panel = panel.decimals(decimals)
    return Ready(panel.build(), title, says, size, [query])


def course(  # noqa: PLR0913  (likewise)
    title: str,
    says: str,
    queries: Iterable[Query],
    unit: str,
    *,
    size: tuple[int, int] = (8, 8),
    limits: build.ThresholdsConfig | None = None,
    colours: dict[str, str] | None = None,
    stacked: bool = False,
    dashed: Iterable[str] = (),
    fill: int = 6,
) -> Ready:
    """Lines over time, or stacked bars. ``limits`` are drawn as lines; ``colours`` and ``dashed`` go by a legend's regex."""
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
    panel = panel.thresholds(limits or steps(GREEN))
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
    return Ready(panel.build(), title, says, size, queries)


def bars(
    title: str,
    says: str,
    queries: Mapping[str, Query],
    size: tuple[int, int],
    limits: build.ThresholdsConfig,
) -> Ready:
    """A few durations side by side, each with its name, to compare."""
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
        # Not by legendFormat: Grafana drops that of an instant query to Loki.
        panel = panel.override_by_query(refid, [DynamicConfigValue("displayName", name)])
    return Ready(panel.build(), title, says, size, queries.values())


def heat(title: str, says: str, query: Query, size: tuple[int, int]) -> Ready:
    """A histogram of durations, over time."""
    panel = (
        heatmap.Panel().unit("s").calculate(calculate=False).y_axis(heatmap.YAxisConfig().unit("s"))
    )
    return Ready(panel.build(), title, says, size, [query])


def lines(title: str, says: str, query: Query, size: tuple[int, int]) -> Ready:
    """Log lines, newest first, each to be opened; there its links are."""
    panel = (
        logs.Panel()
        .show_time(show_time=True)
        .enable_log_details(enable_log_details=True)
        .wrap_log_message(wrap_log_message=True)
    )
    panel = panel.sort_order(kinds.LogsSortOrder.DESCENDING)
    return Ready(panel.build(), title, says, size, [query])


def rows(
    title: str, says: str, query: Query, size: tuple[int, int], columns: dict[str, Properties]
) -> Ready:
    """A table; ``columns`` sets what is special about some, by name."""
    panel = table.Panel().cell_height(kinds.TableCellHeight.SM).unit("short")
    for name, properties in columns.items():
        panel = panel.override_by_name(
            name, [DynamicConfigValue(key, value) for key, value in properties.items()]
        )
    return Ready(panel.build(), title, says, size, [query])


def graph(title: str, says: str, query: Query, size: tuple[int, int]) -> Ready:
    """Nodes and edges."""
    return Ready(nodegraph.Panel().build(), title, says, size, [query])


def trace(title: str, says: str, query: Query, size: tuple[int, int]) -> Ready:
    """The spans of one trace."""
    return Ready(build.Panel().type("traces").build(), title, says, size, [query])


def note(title: str, says: str, content: str, size: tuple[int, int]) -> Ready:
    """A few words."""
    return Ready(text.Panel().content(content).build(), title, says, size, [])
