"""Tests of the ports: which number each has, and which free number the launcher chooses."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.private_ports import free_port
from three_pillar_demo.stack import port_choice, ports, state
from three_pillar_demo.stack.components import MODES
from three_pillar_demo.stack.ports import Port, PortError

INVALID = ["0", "65536", "-1", "80a", "8000.0", "²", "1e3", "1" * 5000]


@pytest.fixture
def near() -> Port:
    """A port whose default is free, and whose variable is not set."""
    return Port("NEAR_PORT", free_port())


@pytest.fixture
def listen() -> Iterator[ExitStack]:
    """A stack that closes the sockets which a test opens."""
    with ExitStack() as sockets:
        yield sockets


def use(number: int, sockets: ExitStack, family: socket.AddressFamily = socket.AF_INET) -> None:
    """Listen on the port ``number`` of loopback until the end of the test."""
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    listener = sockets.enter_context(socket.socket(family))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, number))
    listener.listen()


def test_the_variable_wins_over_the_record_and_the_record_over_the_default(
    monkeypatch: pytest.MonkeyPatch, near: Port
) -> None:
    """A number comes from the variable, else from the running launcher, else it is the default."""
    assert near.number == near.default
    run = state.Run(state.current_process(), 0.0, "local", ports={"NEAR_PORT": 1234})
    monkeypatch.setattr(state, "running", lambda: run)
    assert near.number == 1234
    assert near.url == "http://127.0.0.1:1234"
    monkeypatch.setenv("NEAR_PORT", " 4321 ")
    assert near.number == 4321
    monkeypatch.setenv("NEAR_PORT", " ")
    assert near.number == 1234


def test_a_former_variable_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The former name of a variable counts where the present one is not set."""
    monkeypatch.setenv("WEB_PORT", "")
    monkeypatch.setenv("CONSOLE_PORT", "1234")
    assert ports.WEB.number == 1234
    monkeypatch.setenv("WEB_PORT", "4321")
    assert ports.WEB.number == 4321


@pytest.mark.parametrize(
    ("mode", "variables"),
    [
        (None, ("STORE_PORT", "STORE_GRPC_PORT")),
        ("local", ("STORE_PORT", "STORE_GRPC_PORT")),
        ("view", ("STORE_PORT", "STORE_GRPC_PORT")),
        ("full", ("OTEL_COLLECTOR_PORT", "OTEL_COLLECTOR_GRPC_PORT")),
        ("compose", ("OTEL_COLLECTOR_PORT", "OTEL_COLLECTOR_GRPC_PORT")),
    ],
)
def test_every_mode_has_its_receiver(mode: str | None, variables: tuple[str, str]) -> None:
    """The store receives OTLP where it runs, and the Collector in all other modes."""
    assert tuple(port.variable for port in ports.otlp_receivers(mode)) == variables
    if mode in MODES:
        listening = {port for component in MODES[mode] for port in component.ports}
        assert set(ports.otlp_receivers(mode)) <= listening


@pytest.mark.parametrize("value", INVALID)
def test_a_value_that_is_no_port_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A value that is no port number is an error that names the variable."""
    monkeypatch.setenv("LOKI_PORT", value)
    with pytest.raises(PortError, match=r"^LOKI_PORT=.*: not a port number, 1 to 65535$"):
        ports.validate()


def test_free_defaults_are_kept(near: Port) -> None:
    """A default that is free is chosen, without a message."""
    (choice,) = port_choice.choose([near])
    assert choice.number == near.default
    assert choice.message("shop") == ""


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_a_default_in_use_is_replaced_by_the_next_free_number(
    near: Port, listen: ExitStack, family: socket.AddressFamily
) -> None:
    """The next free number is chosen, and the message names port, process and variable."""
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    use(near.default, listen, family)
    use(near.default + 1, listen)
    (choice,) = port_choice.choose([near])
    assert choice.number > near.default + 1
    assert choice.message("shop").startswith(
        f"port {near.default} is in use by process {os.getpid()}, "
    )
    assert choice.message("shop").endswith(f"; shop uses {choice.number} (NEAR_PORT)")


def test_two_ports_with_the_same_default_get_different_numbers(near: Port) -> None:
    """A number that was chosen for one port is not chosen for the next one."""
    first, second = port_choice.choose([near, Port("SECOND_PORT", near.default)])
    assert first.number == near.default
    assert second.number > near.default
    assert second.message("shop").startswith(f"port {near.default} is in use by NEAR_PORT; ")


def test_the_default_of_another_port_is_not_taken(listen: ExitStack) -> None:
    """A replacement is never the default of another port, which its component will want."""
    (choice,) = port_choice.choose([Port("SHOP_PORT", ports.CHECKOUT.default)])
    taken = {port.default for port in ports.ALL}
    if choice.number == ports.CHECKOUT.default:
        use(ports.CHECKOUT.default, listen)
        (choice,) = port_choice.choose([Port("SHOP_PORT", ports.CHECKOUT.default)])
    assert choice.number not in taken


def test_a_number_that_is_set_is_never_replaced(
    monkeypatch: pytest.MonkeyPatch, near: Port, listen: ExitStack
) -> None:
    """A set number that is in use, and one that is set twice, are refused by name, both at once."""
    used = free_port()
    use(used, listen)
    monkeypatch.setenv("NEAR_PORT", str(used))
    for name in ("FIRST_PORT", "SECOND_PORT"):
        monkeypatch.setenv(name, str(near.default))
    with pytest.raises(PortError) as refused:
        port_choice.choose([near, Port("FIRST_PORT", 1), Port("SECOND_PORT", 2)])
    first_line, second_line = str(refused.value).splitlines()
    assert first_line.startswith(
        f"NEAR_PORT={used}: port {used} is in use by process {os.getpid()}"
    )
    assert second_line == f"SECOND_PORT and FIRST_PORT are both {near.default}"


def test_the_tests_have_ports_of_their_own() -> None:
    """Every port is set for the tests, and none of them is a default, where a stack may run."""
    numbers = {port.setting() for port in ports.ALL}
    assert None not in numbers
    assert len(numbers) == len(ports.ALL)
    assert not numbers & {port.default for port in ports.ALL}
