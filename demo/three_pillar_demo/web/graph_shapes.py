"""The outlines of the nodes of the service graph, one for each kind of participant."""

from three_pillar_demo.query.service_map import ParticipantKind

INSET = 1.0
"""The distance of an outline from the rectangle of its node, which has room for the stroke."""
SLANT = 11.0
"""How far, in pixels, the sides of a queue and of a host lean."""
RIM = 3.0
"""Half of the height of the upper end of a database, which ends above its name."""
CORNER = 6.0
"""The radius of the corners of a service."""


def outline(kind: ParticipantKind, width: float, height: float) -> str:
    """Return the ``d`` attribute of the outline in a rectangle of that size.

    A service is a rectangle, a database a cylinder, a queue leans, a host has six corners, and the
    clients without spans have round ends.
    """
    right = width - INSET
    bottom = height - INSET
    if kind is ParticipantKind.DATABASE:
        # The middle of such a curve is at three quarters of its control points.
        reach = RIM / 0.75
        upper = INSET + RIM
        lower = bottom - RIM
        upper_end = f"M1 {upper}C1 {upper - reach} {right} {upper - reach} {right} {upper}"
        lower_end = f"V{lower}C{right} {lower + reach} 1 {lower + reach} 1 {lower}z"
        front = f"M1 {upper}C1 {upper + reach} {right} {upper + reach} {right} {upper}"
        return f"{upper_end}{lower_end}{front}"
    if kind is ParticipantKind.QUEUE:
        return f"M{SLANT} 1H{right}L{right - SLANT} {bottom}H1z"
    if kind is ParticipantKind.HOST:
        inner = right - SLANT
        return f"M{SLANT} 1H{inner}L{right} {height / 2}L{inner} {bottom}H{SLANT}L1 {height / 2}z"
    radius = (bottom - 1) / 2 if kind is ParticipantKind.CLIENTS else CORNER
    arc = f"a{radius} {radius} 0 0 1"
    across = right - 1 - 2 * radius
    down = bottom - 1 - 2 * radius
    return (
        f"M{1 + radius} 1h{across}{arc} {radius} {radius}v{down}{arc} -{radius} {radius}"
        f"h-{across}{arc} -{radius} -{radius}v-{down}{arc} {radius} -{radius}z"
    )
