"""The runbook of docs/how-to/ as a page, to which alerts and drills link.

The runbook uses a small part of Markdown: headings, paragraphs, fenced code, and inside of these
code, bold text and links.
"""

import re

from markupsafe import Markup, escape

from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack import ports

FILE = ROOT / "docs" / "how-to" / "runbook.md"
"""The runbook; an installation without a checkout, such as the image, does not have it."""
REFERENCE = re.compile(r"docs/how-to/runbook\.md(#[a-z0-9-]{1,100})?")
"""How alerts and drills name the runbook or a section of it."""
ADDRESS = re.compile(rf"(?<={re.escape(ports.LOOPBACK)}:)\d+\b")
"""The port in an address of a component."""
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"(#{1,3}) (.+)")
INLINE = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<bold>[^*]+)\*\*|\[(?P<text>[^\]]+)\]\((?P<target>[^)]+)\)"
    r"|<(?P<url>https?://[^>]+)>"
)


def address(reference: str) -> str:
    """Return the path of the page that ``reference`` names: ``/runbook#paymentunreachable``.

    The result is "" if ``reference`` does not name the runbook, or if there is no runbook here.
    """
    match = REFERENCE.fullmatch(reference)
    return f"/runbook{match[1] or ''}" if match and FILE.is_file() else ""


def with_actual_ports(text: str, mode: str) -> str:
    """Return ``text`` with the ports of the running stack of ``mode`` in place of the defaults.

    A stack has other ports where the defaults were taken when it started, or where a variable sets
    them.
    """
    # The Collector and the store have the same defaults, so the receivers of the mode come last.
    numbers = {port.default: port.number for port in (*ports.ALL, *ports.otlp_receivers(mode))}
    return ADDRESS.sub(lambda found: str(numbers.get(int(found[0]), found[0])), text)


def to_html(text: str) -> Markup:
    """Return the HTML of ``text``, which is Markdown as the runbook uses it.

    Each heading has an id as on GitHub, and text that looks like HTML stays text.
    """
    parts = FENCE.split(text)
    # Every second part is the inside of a fence.
    return Markup("\n").join(
        Markup("<pre>{}</pre>").format(part) if index % 2 else _paragraphs(part)
        for index, part in enumerate(parts)
    )


def _paragraphs(text: str) -> Markup:
    blocks = [block.strip() for block in re.split(r"\n\s*\n", text)]
    return Markup("\n").join(_block(block) for block in blocks if block)


def _block(block: str) -> Markup:
    heading = HEADING.fullmatch(block)
    if not heading:
        return Markup("<p>{}</p>").format(_inline(block))
    level = len(heading[1])
    anchor = re.sub(r"[^\w-]", "", heading[2].lower().replace(" ", "-"))
    return Markup('<h{} id="{}">{}</h{}>').format(level, anchor, _inline(heading[2]), level)


def _inline(text: str) -> Markup:
    html = Markup()
    end = 0
    for match in INLINE.finditer(text):
        html += escape(text[end : match.start()]) + _inline_element(match)
        end = match.end()
    return html + escape(text[end:])


def _inline_element(match: re.Match[str]) -> Markup:
    """Return code, bold text or a link; the addresses of other pages and files are only text."""
    if match["bold"]:
        return Markup("<b>{}</b>").format(match["bold"])
    if match["text"] and match["target"].startswith("#"):
        return Markup('<a href="{}">{}</a>').format(match["target"], match["text"])
    return escape(match["text"]) if match["text"] else _code(match["code"] or match["url"])


def _code(text: str) -> Markup:
    return Markup("<code>{}</code>").format(text)
