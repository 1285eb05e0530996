"""Tests of the ports: which number each has, and which free number the launcher chooses."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.private_ports import free_port
from three_pillar_demo.stack import port_choice, port_claims, ports, state
from three_pillar_demo.stack.components import MODES
from three_pillar_demo.stack.port_claims import PortClaims
from three_pillar_demo.stack.ports import Port, PortError

INVALID = ["0", "65536", "-1", "80a", "8000.0", "²", "1e3", "1" * 5000]


@pytest.fixture
def near() -> Port:
    """A port whose default is free, and whose variable is not set."""
    return Port("NEAR_PORT", free_port())


@pytest.fixture
def make_claims(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[], PortClaims]]:
    """Return a function that creates the claims of one launcher."""
    monkeypatch.setattr(port_claims, "FOLDER", tmp_path / "claims")
    all_claims: list[PortClaims] = []

    def make() -> PortClaims:
        all_claims.append(PortClaims())
        return all_claims[-1]

    yield make
    for claims in all_claims:
        claims.release()


@pytest.fixture
def claims(make_claims: Callable[[], PortClaims]) -> PortClaims:
    """The claims of the launcher for which a test chooses ports."""
    return make_claims()


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


def test_free_defaults_are_kept(near: Port, claims: PortClaims) -> None:
    """A default that is free is chosen, without a message."""
    (choice,) = port_choice.choose([near], claims)
    assert choice.number == near.default
    assert choice.message("shop") == ""


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_a_default_in_use_is_replaced_by_the_next_free_number(
    near: Port, claims: PortClaims, listen: ExitStack, family: socket.AddressFamily
) -> None:
    """The next free number is chosen, and the message names port, process and variable."""
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    use(near.default, listen, family)
    use(near.default + 1, listen)
    (choice,) = port_choice.choose([near], claims)
    assert choice.number > near.default + 1
    assert choice.message("shop").startswith(
        f"port {near.default} is in use by process {os.getpid()}, "
    )
    assert choice.message("shop").endswith(f"; shop uses {choice.number} (NEAR_PORT)")


def test_two_ports_with_the_same_default_get_different_numbers(
    near: Port, claims: PortClaims
) -> None:
    """A number that was chosen for one port is not chosen for the next one."""
    first, second = port_choice.choose([near, Port("SECOND_PORT", near.default)], claims)
    assert first.number == near.default
    assert second.number > near.default
    assert second.message("shop").startswith(f"port {near.default} is in use by NEAR_PORT; ")


def test_the_default_of_another_port_is_not_taken(
    make_claims: Callable[[], PortClaims], listen: ExitStack
) -> None:
    """A replacement is never the default of another port, which its component will want."""
    shop = Port("SHOP_PORT", ports.CHECKOUT.default)
    (choice,) = port_choice.choose([shop], make_claims())
    taken = {port.default for port in ports.ALL}
    if choice.number == ports.CHECKOUT.default:
        use(ports.CHECKOUT.default, listen)
        (choice,) = port_choice.choose([shop], make_claims())
    assert choice.number not in taken


def test_a_number_that_is_set_is_never_replaced(
    monkeypatch: pytest.MonkeyPatch, near: Port, claims: PortClaims, listen: ExitStack
) -> None:
    """A set number that is in use, and one that is set twice, are refused by name, both at once."""
    used = free_port()
    use(used, listen)
    monkeypatch.setenv("NEAR_PORT", str(used))
    for name in ("FIRST_PORT", "SECOND_PORT"):
        monkeypatch.setenv(name, str(near.default))
    with pytest.raises(PortError) as refused:
        port_choice.choose([near, Port("FIRST_PORT", 1), Port("SECOND_PORT", 2)], claims)
    first_line, second_line = str(refused.value).splitlines()
    assert first_line.startswith(
        f"NEAR_PORT={used}: port {used} is in use by process {os.getpid()}"
    )
    assert second_line == f"SECOND_PORT and FIRST_PORT are both {near.default}"


def test_two_starts_at_once_choose_different_ports(
    near: Port, make_claims: Callable[[], PortClaims]
) -> None:
    """A number that another launcher has chosen is taken, although nothing listens on it yet."""
    first = make_claims()
    second = make_claims()
    (choice,) = port_choice.choose([near], first)
    (other_choice,) = port_choice.choose([near], second)
    assert choice.number == near.default
    assert other_choice.number > near.default
    assert other_choice.message("shop").startswith(
        f"port {near.default} is claimed by another stack of yours, which runs or is starting; "
    )
    first.release()
    (choice,) = port_choice.choose([near], second)
    assert choice.number == near.default


def test_a_set_number_that_is_claimed_is_refused(
    monkeypatch: pytest.MonkeyPatch, near: Port, make_claims: Callable[[], PortClaims]
) -> None:
    """A number that a variable sets is refused if another launcher has chosen it."""
    monkeypatch.setenv("NEAR_PORT", str(near.default))
    port_choice.choose([near], make_claims())
    with pytest.raises(PortError, match=f"NEAR_PORT={near.default}: port .* is claimed by"):
        port_choice.choose([near], make_claims())


def test_a_launcher_takes_a_claim_again_and_leaves_no_file(
    make_claims: Callable[[], PortClaims],
) -> None:
    """A launcher may choose its own port again, and after its end there is no lock file."""
    first = make_claims()
    assert first.take(1234)
    assert first.take(1234)
    assert not make_claims().take(1234)
    first.release()
    assert list(port_claims.FOLDER.iterdir()) == []
    assert make_claims().take(1234)


@pytest.mark.parametrize("obstacle", ["file", "link", "folder in the way"])
def test_without_lock_files_every_claim_succeeds(
    make_claims: Callable[[], PortClaims], tmp_path: Path, obstacle: str
) -> None:
    """Where no lock file can be written, the demo works without claims, and follows no link."""
    if obstacle == "file":
        port_claims.FOLDER.touch()
    elif obstacle == "link":
        (tmp_path / "elsewhere").mkdir()
        port_claims.FOLDER.symlink_to(tmp_path / "elsewhere")
    else:
        (port_claims.FOLDER / "1234").mkdir(parents=True)
    for _ in range(2):
        assert make_claims().take(1234)
    assert obstacle != "link" or list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("error_number", [errno.EACCES, errno.EPERM, errno.EADDRNOTAVAIL])
def test_a_port_that_cannot_be_bound_is_not_called_in_use(
    monkeypatch: pytest.MonkeyPatch, near: Port, claims: PortClaims, error_number: int
) -> None:
    """A port that this user may not use gets the system's reason, not "in use"."""

    class RefusingSocket(socket.socket):
        def bind(self, address: Any) -> None:  # noqa: ANN401  (that of the base class)
            if address[1] == near.default:
                raise OSError(error_number, os.strerror(error_number))
            super().bind(address)

    monkeypatch.setattr(socket, "socket", RefusingSocket)
    reason = f"cannot be used: {os.strerror(error_number)}"
    assert port_choice.problem_of(near.default) == reason
    (choice,) = port_choice.choose([near], claims)
    assert choice.message("shop").startswith(f"port {near.default} {reason}; shop uses ")
    monkeypatch.setenv("NEAR_PORT", str(near.default))
    with pytest.raises(PortError, match=f"^NEAR_PORT={near.default}: port .* {reason}$"):
        port_choice.choose([near], claims)


def test_the_tests_have_ports_of_their_own() -> None:
    """Every port is set for the tests, and none of them is a default, where a stack may run."""
    numbers = {port.setting() for port in ports.ALL}
    assert None not in numbers
    assert len(numbers) == len(ports.ALL)
    assert not numbers & {port.default for port in ports.ALL}
