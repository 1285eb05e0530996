"""A service that puts all its input into logs, spans, events, exceptions and metric labels."""

import logging
import sys

import structlog
import uvicorn
from fastapi import FastAPI
from opentelemetry import baggage, metrics, trace
from opentelemetry.trace import Status, StatusCode
from starlette.requests import Request

import three_pillars


def create_app() -> FastAPI:
    """Return the app; it trusts callers on 127.0.0.1, so that it accepts their baggage."""
    app = FastAPI()
    log = structlog.get_logger()

    @app.api_route("/echo/{rest:path}", methods=["GET", "POST"])
    async def echo(request: Request, rest: str) -> dict[str, str]:
        body = (await request.body()).decode()
        carried = {name: str(value) for name, value in baggage.get_all().items()}
        received = {
            "path": rest,
            "query": str(request.url.query),
            "headers": dict(request.headers),
            **carried,
        }
        structlog.contextvars.bind_contextvars(bound=body)
        log.warning(
            f"received {body}",
            words=body,
            received=received,
            listed=[body],
            raw=request.scope["headers"],
        )
        for word in body.replace(";", " ").split():
            if word.isdigit():
                log.info("a number", number=int(word))
        logging.getLogger("library").warning("a library logs %s, %s", body, received)
        fill_span(body, rest, carried)
        metrics.get_meter("leaky").create_counter("leaky.echoes").add(1, {"words": body})
        if request.method == "POST":
            try:
                raise ValueError(body)  # noqa: TRY301  (an exception with a cause)
            except ValueError as error:
                log.exception("it failed")
                raise RuntimeError(f"it failed with {body}, {received}") from error
        return {"trace_id": three_pillars.trace_id()}

    three_pillars.install(app, three_pillars.ServiceResource("leaky"), trusted_networks="127.0.0.1")
    return app


def fill_span(body: str, path: str, carried: dict[str, str]) -> None:
    """Put the input into every field of the current span that can hold text.

    ``carried`` is the baggage of the request.
    """
    span = trace.get_current_span()
    span.update_name(f"echo {path}")
    span.set_attributes({"words": body, "listed": [body, path], "user.password": path, **carried})
    span.add_event(f"received {body}", {"words": body})
    span.add_link(span.get_span_context(), {"words": body})
    span.set_status(Status(StatusCode.ERROR, body))


if __name__ == "__main__":
    three_pillars.log_to_stdout()
    uvicorn.run(
        create_app(),
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
