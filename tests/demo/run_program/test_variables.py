"""The ``OTEL_*`` variables that ``demo run`` adds to those of the user."""

from pathlib import Path

import pytest

from three_pillar_demo.run_program.variables import (
    ENDPOINT,
    GRPC,
    HTTP,
    PROTOCOL,
    SERVICE_NAME,
    Receiver,
    additions,
    service_name,
)

RECEIVER = Receiver(http_port=14318, grpc_port=14317)
FOLDER = Path("/home/user/shopfront")


def test_everything_is_set_where_the_user_sets_nothing() -> None:
    """Without variables of the user, all three signals go to the HTTP port, named as the folder."""
    added = additions({}, RECEIVER, FOLDER)
    assert added[ENDPOINT] == "http://127.0.0.1:14318"
    assert added[PROTOCOL] == HTTP
    assert added[SERVICE_NAME] == "shopfront"
    assert {added[f"OTEL_{signal}_EXPORTER"] for signal in ("TRACES", "METRICS", "LOGS")} == {
        "otlp"
    }
    assert int(added["OTEL_METRIC_EXPORT_INTERVAL"]) <= 1000
    assert all(name.startswith("OTEL_") for name in added)


def test_the_users_variables_win() -> None:
    """No variable that the user has set is replaced, whichever it is."""
    every_name = additions({}, RECEIVER, FOLDER)
    assert additions(dict.fromkeys(every_name, "mine"), RECEIVER, FOLDER) == {}


def test_a_blank_variable_counts_as_unset() -> None:
    """A variable that is set to blanks is replaced, as OpenTelemetry's specification says."""
    added = additions({ENDPOINT: "  ", SERVICE_NAME: ""}, RECEIVER, FOLDER)
    assert added[ENDPOINT] == "http://127.0.0.1:14318"
    assert added[SERVICE_NAME] == "shopfront"


def test_grpc_gets_the_grpc_port() -> None:
    """The endpoint fits the protocol, whether the user or the program's exporter decides it."""
    assert additions({PROTOCOL: GRPC}, RECEIVER, FOLDER)[ENDPOINT] == "http://127.0.0.1:14317"
    added = additions({}, RECEIVER, FOLDER, GRPC)
    assert (added[PROTOCOL], added[ENDPOINT]) == (GRPC, "http://127.0.0.1:14317")
    # The user's choice also wins over what the program has installed.
    assert additions({PROTOCOL: HTTP}, RECEIVER, FOLDER, GRPC)[ENDPOINT].endswith(":14318")


def test_a_signal_with_its_own_protocol_gets_its_own_endpoint() -> None:
    """A protocol for one signal gives this signal the endpoint of that protocol."""
    added = additions({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": GRPC}, RECEIVER, FOLDER)
    assert added["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == "http://127.0.0.1:14317"
    assert added[ENDPOINT] == "http://127.0.0.1:14318"
    environment = {PROTOCOL: GRPC, "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": HTTP}
    added = additions(environment, RECEIVER, FOLDER)
    assert added["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"] == "http://127.0.0.1:14318/v1/logs"
    assert "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" not in added


def test_an_endpoint_of_the_user_is_used_for_every_signal() -> None:
    """Where the user names the receiver, no signal is sent elsewhere."""
    environment = {ENDPOINT: "http://other:4318", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": GRPC}
    assert not [name for name in additions(environment, RECEIVER, FOLDER) if "ENDPOINT" in name]


@pytest.mark.parametrize(
    "attributes", ["service.name=shop", "a=b, service.name = shop", "a=b,service.name=shop,c=d"]
)
def test_a_name_among_the_resource_attributes_is_kept(attributes: str) -> None:
    """A service that is named by a resource attribute is not named after its folder."""
    environment = {"OTEL_RESOURCE_ATTRIBUTES": attributes}
    assert SERVICE_NAME not in additions(environment, RECEIVER, FOLDER)


@pytest.mark.parametrize("attributes", ["a=b", "my.service.name=shop", "service.namespace=shop"])
def test_other_resource_attributes_name_no_service(attributes: str) -> None:
    """An attribute that is only similar to ``service.name`` does not name the service."""
    environment = {"OTEL_RESOURCE_ATTRIBUTES": attributes}
    assert additions(environment, RECEIVER, FOLDER)[SERVICE_NAME] == "shopfront"


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/", "unnamed"),
        ("/my shop", "my shop"),
        ("/Bücher", "Bücher"),
        ("/line\nfeed", "line_feed"),
        ("/not\udcfftext", "not_text"),
        ("/" + "x" * 255, "x" * 200),
    ],
)
def test_every_folder_gives_a_valid_name(folder: str, expected: str) -> None:
    """The name of a service is printable text of limited length, whatever its folder is called."""
    assert service_name(Path(folder)) == expected
