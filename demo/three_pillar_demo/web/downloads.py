"""The files that the page of a request offers: the page itself as HTML, and its OTLP JSON."""

from starlette.exceptions import HTTPException
from starlette.responses import Response

from three_pillar_demo.trace_view.gather import with_missing_remark
from three_pillar_demo.trace_view.otlp_export import otlp_lines
from three_pillar_demo.trace_view.trace_ids import parse_trace_id
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.standalone import request_file

JSON_LINES = "application/x-ndjson"


class Downloads:
    """The handlers of the files; ``data`` queries the traces."""

    def __init__(self, data: PageData) -> None:
        self.data = data

    async def html(self, trace_id: str) -> Response:
        """Answer ``GET /trace/{trace_id}/request.html`` with the page of the request as a file."""
        view = await self._view(trace_id)
        content = await request_file(self.data.backends, view)
        return _attachment(content, "text/html", f"trace-{view.trace_id}.html")

    async def otlp(self, trace_id: str) -> Response:
        """Answer ``GET /trace/{trace_id}/otlp.jsonl`` with the OTLP JSON of the request."""
        view = await self._view(trace_id)
        content = "".join(f"{line}\n" for line in otlp_lines(view))
        return _attachment(content, JSON_LINES, f"trace-{view.trace_id}.otlp.jsonl")

    async def _view(self, trace_id: str) -> TraceView:
        """Return what has arrived of a trace.

        Raises:
            HTTPException: The id is invalid or nothing of the trace is stored (status 404), or the
                trace store does not answer (status 503).
        """
        try:
            parsed_id = parse_trace_id(trace_id)
        except ValueError as error:
            raise HTTPException(404, "invalid trace id: it has 32 hex digits") from error
        result = await self.data.trace_page(parsed_id)
        if result.error:
            raise HTTPException(503, f"the trace cannot be read: {result.error}")
        if result.value is None or not result.value.view.spans:
            raise HTTPException(404, "nothing of this trace is stored")
        return with_missing_remark(result.value.view, result.value.missing)


def _attachment(content: str, media_type: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content.encode(errors="replace"), media_type=media_type, headers=headers)
