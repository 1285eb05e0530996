"""The templates of the pages, with the functions and constants that they use."""

import time
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from three_pillar_demo.drills import answer_choices
from three_pillar_demo.drills.catalogue import REASONS
from three_pillar_demo.load.manual_traffic import CARDS, MAX_RATE
from three_pillar_demo.stack.health import NO_ANSWER_IN_TIME
from three_pillar_demo.terminal import printable, without_ansi
from three_pillar_demo.trace_view.names import named, service_text, span_text
from three_pillar_demo.web import chart, formatting
from three_pillar_demo.web.attribute_units import value_hint
from three_pillar_demo.web.cache import PENDING
from three_pillar_demo.web.drill_marks import marks_on, newest_start, with_marks
from three_pillar_demo.web.graph_parts import has_page, key_of
from three_pillar_demo.web.log_row import log_row
from three_pillar_demo.web.request_list import DURATIONS_S
from three_pillar_demo.web.service_classes import class_on_page
from three_pillar_demo.web.service_graph import MAX_ROWS
from three_pillar_demo.web.services import addresses_from
from three_pillar_demo.web.text_width import fitting
from three_pillar_demo.web.view_state import MINUTES, SEVERITIES

WEB_FOLDER = Path(__file__).parent
MAX_VALUE = 400
"""The number of characters of an attribute's value that the page of a request shows."""
MAX_LINKED_TRACES = 5
"""The number of linked traces that the page of a request names at its top."""


@cache
def templates() -> Environment:
    """Return Jinja's environment for the templates; it escapes the markup in all values."""
    environment = Environment(
        loader=FileSystemLoader([WEB_FOLDER / "templates", WEB_FOLDER / "alert_inbox"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    environment.filters["without_ansi"] = without_ansi
    environment.filters["named"] = named
    environment.filters["service_text"] = service_text
    environment.filters["span_text"] = span_text
    environment.filters["service_class"] = class_on_page
    environment.filters["log_row"] = log_row
    environment.filters["printable_lines"] = formatting.printable_lines
    environment.filters["duration"] = formatting.duration
    environment.filters["percentage"] = formatting.percentage
    environment.filters["rate"] = formatting.rate
    environment.filters["mebibytes"] = formatting.mebibytes
    environment.filters["clock"] = formatting.clock
    environment.filters["moment"] = formatting.moment
    environment.filters["date"] = formatting.date
    environment.filters["signed_duration"] = formatting.signed_duration
    environment.globals["service_addresses"] = addresses_from
    environment.globals["value_hint"] = value_hint
    environment.filters["age"] = formatting.age
    environment.filters["fitting"] = fitting
    environment.filters["participant_key"] = key_of
    environment.filters["place"] = answer_choices.place
    environment.filters["place_label"] = answer_choices.label
    environment.filters["marks_on"] = marks_on
    environment.filters["with_marks"] = with_marks
    environment.filters["newest_start"] = newest_start
    environment.filters["without_zeros"] = formatting.without_zeros
    environment.tests["failed"] = chart.failed
    environment.tests["with_page"] = has_page
    # A template that is rendered for a file of its own, and not for this server, sets these two.
    environment.globals["standalone"] = False
    environment.globals["max_value"] = MAX_VALUE
    environment.globals["max_linked"] = MAX_LINKED_TRACES
    # A file of its own knows no drills.
    environment.globals["drill_marks"] = ()
    environment.globals["minutes"] = MINUTES
    environment.globals["severities"] = SEVERITIES
    environment.globals["durations"] = DURATIONS_S
    environment.globals["now_ns"] = time.time_ns
    environment.globals["max_call_rows"] = MAX_ROWS
    environment.globals["cards"] = CARDS
    environment.globals["max_rate"] = MAX_RATE
    environment.globals["drill_reasons"] = REASONS
    environment.globals["pending"] = PENDING.error
    environment.globals["no_answer_in_time"] = NO_ANSWER_IN_TIME
    return environment
