"""A service that tells everything it hears: in lines, fields, spans, events, exceptions, labels. It copied telemetry/."""

import logging
import sys

import three_pillars

# isort: split
import structlog
import uvicorn
from fastapi import FastAPI
from opentelemetry import baggage, metrics, trace
from opentelemetry.trace import Status, StatusCode
from starlette.requests import Request


def create_app() -> FastAPI:
    """Build it; it believes its callers on this machine, or it would not hear their baggage."""
    app = FastAPI()
    log = structlog.get_logger()

    @app.api_route("/said/{rest:path}", methods=["GET", "POST"])
    async def said(request: Request, rest: str) -> dict[str, str]:
        words = (await request.body()).decode()
        carried = {name: str(value) for name, value in baggage.get_all().items()}
        heard = {
            "path": rest,
            "query": str(request.url.query),
            "headers": dict(request.headers),
            **carried,
        }
        structlog.contextvars.bind_contextvars(bound=words)
        log.warning(
            f"somebody said {words}",
            words=words,
            heard=heard,
            listed=[words],
            raw=request.scope["headers"],
        )
        for digits in filter(str.isdigit, words.replace(";", " ").split()):
            log.info("a number", number=int(digits))
        logging.getLogger("library").warning("a library says %s, %s", words, heard)
        span = trace.get_current_span()
        span.update_name(f"said {rest}")
        span.set_attributes(
            {"words": words, "listed": [words, rest], "user.password": rest, **carried}
        )
        span.add_event(f"heard {words}", {"words": words})
        span.add_link(span.get_span_context(), {"words": words})
        span.set_status(Status(StatusCode.ERROR, words))
        metrics.get_meter("leaky").create_counter("leaky.said").add(1, {"words": words})
        if request.method == "POST":
            try:
                raise ValueError(words)  # noqa: TRY301  (a chain of two, as they come)
            except ValueError as error:
                log.exception("it failed")
                raise RuntimeError(f"it went wrong with {words}, {heard}") from error
        return {"trace_id": three_pillars.trace_id()}

    three_pillars.install(
        app, three_pillars.ServiceResource("leaky"), trusted_networks="127.0.0.1"
    )
    return app


if __name__ == "__main__":
    three_pillars.log_to_stdout()
    uvicorn.run(
        create_app(),
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
