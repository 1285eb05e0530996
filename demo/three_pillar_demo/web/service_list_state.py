"""The state of the list of services, which is kept only in the query parameters of its address."""

from typing import Literal

from pydantic import Field

from three_pillar_demo.web.view_state import ViewState


class ServiceListState(ViewState):
    """What a visitor has chosen to see of the services, one field for each query parameter.

    Of the fields of ``ViewState``, the page uses ``minutes`` and ``still``.
    """

    find: str = Field(
        "",
        max_length=100,
        description="a text of at most 100 characters that the names of the services contain",
    )
    sort: Literal["name", "rate", "errors", "slow"] = Field(
        "name", description="name, rate, errors or slow: the order of the services"
    )
    page: int = Field(1, ge=1, le=10_000, description="the page of the list of services, from 1")
