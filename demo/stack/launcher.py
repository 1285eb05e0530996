"""Starts the components in stages, watches them, and stops them along the data's way.

One loop decides everything. A thread finds or builds the binaries one after the other (two builds at once would only be
slower on two cores) and puts what it learns on a queue; signals set a flag; the loop looks at queue, flag and children.
"""

import queue
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from types import FrameType

import psutil
from rich.console import Console

from demo.stack import binaries, state
from demo.stack.board import Board
from demo.stack.components import COMPONENTS, LOOPBACK, STATE, Component
from demo.stack.process import Child, stop, stop_orphans

TICK = 0.1
BUILD_GRACE = 3.0
"""Seconds that Go gets to clear away its temporary files."""
FREE_BYTES = 1024**3
"""Disk that a run wants free: retention keeps what the backends store under it."""

Found = tuple[Component, Path | BaseException]


class LaunchError(Exception):
    """The stack cannot start or go on; the text names the component, the reason and the log."""


class Launcher:
    """One run of the house."""

    def __init__(self, console: Console, components: Sequence[Component] = COMPONENTS) -> None:
        """Prepare; nothing is started yet."""
        self.components = components
        self.console = console
        self.board = Board(components, console)
        self.children: dict[str, Child] = {}
        self.found: queue.Queue[Found] = queue.Queue()
        self.finder = threading.Thread(target=self._find_binaries, daemon=True)
        self.signals = 0
        self.stopping = False
        self.run = state.Run(state.current_process(), time.time())

    def up(self) -> None:
        """Start everything, say so, and stay until a signal; then stop everything.

        Raises:
            LaunchError: Something is in the way, fails to build, does not become ready, or dies. All else is stopped by then.
            state.RunningError: Another launcher is running.
        """
        try:
            with state.only_one():
                stop_orphans(self.console)
                check_disk()
                check_ports(self.components)
                self._run()
        except OSError as error:
            raise LaunchError(str(error)) from error

    def _run(self) -> None:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        if handlers[signal.SIGHUP] is signal.SIG_IGN:  # started with nohup
            del handlers[signal.SIGHUP]
        for number in handlers:
            signal.signal(number, self._signalled)
        try:
            self._start()
            self._watch()
        finally:
            self._stop()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGHUP or not self.signals:  # shell and kernel both send one when a window is closed
            self.signals += 1

    def _start(self) -> None:
        began = time.monotonic()
        self.run.save()
        for component in self.components:
            if component.binary is None:
                self._spawn(component, None)
        self.finder.start()
        with self.board:
            while not self.signals and not self.run.ready:
                self._take_found()
                self._look_at_children()
                if len(self.children) == len(self.components) and all(
                    c.ready_after is not None for c in self.children.values()
                ):
                    self.run.ready = True
        if self.run.ready:
            self.board.summary(time.monotonic() - began)
            self.run.save()

    def _find_binaries(self) -> None:
        for component in self.components:
            if component.binary is None:
                continue
            try:
                self.found.put((component, self._find_or_build(component, component.binary)))
            except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever it is: the loop waits to hear of it)
                self.found.put((component, error))
                return

    def _find_or_build(self, component: Component, binary: binaries.Binary) -> Path:
        if at_hand := binaries.find(binary):
            path, where = at_hand
            self.board.step(component.name, f"{binary.name} {binary.version} found {where}", counting=True)
            return path
        self._tell(component, "building")
        path = binaries.build(
            binary, STATE / "logs" / f"build-{component.name}.log", lambda step: self._tell(component, f"building: {step}")
        )
        self._tell(component, "built")
        return path

    def _tell(self, component: Component, step: str) -> None:
        if self.stopping:
            raise binaries.BuildError("stopped")
        self.board.step(component.name, step)

    def _take_found(self) -> None:
        try:
            component, path = self.found.get(timeout=TICK)
        except queue.Empty:
            return
        if isinstance(path, BaseException):
            known = isinstance(path, binaries.BuildError)
            raise LaunchError(str(path) if known else f"{component.name}: {type(path).__name__}: {path}") from path
        self._spawn(component, path)

    def _spawn(self, component: Component, executable: Path | None) -> None:
        self.board.step(component.name, "starting")
        try:
            child = Child(component, executable)
        except OSError as error:
            raise LaunchError(f"{component.name} cannot be started: {error}") from error
        self.children[component.name] = child
        self.run.components[component.name] = state.identify(child.process.pid)
        self.run.save()

    def _look_at_children(self) -> None:
        for name, child in self.children.items():
            if child.exit_code is not None:
                raise LaunchError(child.obituary())
            if child.ready_after is None:
                if child.probe():
                    self.board.step(name, "ready", done=True)
                elif time.monotonic() - child.started > child.component.ready_seconds:
                    raise LaunchError(
                        f"{name} is not ready after {child.component.ready_seconds:.0f} s: "
                        f"{child.component.ready_url} said {child.last_answer}\n"
                        f"  its log: {child.component.log}"
                    )

    def _watch(self) -> None:
        while not self.signals:
            for child in self.children.values():
                if child.exit_code is not None:
                    raise LaunchError(child.obituary())
            time.sleep(TICK)

    def _stop(self) -> None:
        """Stop along the data's way, so that each hands over what it holds to one that still listens."""
        self.stopping = True
        asked = min(self.signals, 1)
        if self.children:
            with suppress(OSError, SystemExit):  # the terminal may be gone; what runs has to be stopped all the same
                self.console.print("stopping", style="dim")
        in_order = sorted(self.children.values(), key=lambda child: child.component.stop_order)
        for _, group in groupby(in_order, key=lambda child: child.component.stop_order):
            stop(list(group), impatient=lambda: self.signals > asked)
        self._stop_build()
        self.run.ready = False
        self.run.components = {}
        with suppress(OSError):  # a full disk; the reason that is on its way matters more
            self.run.save()

    def _stop_build(self) -> None:
        for end in (psutil.Process.terminate, psutil.Process.kill):
            if not self.finder.is_alive():
                return
            for each in psutil.Process().children(recursive=True):  # the components are gone: these belong to a build
                with suppress(psutil.Error):
                    end(each)
            self.finder.join(BUILD_GRACE)  # it removes what it has built so far


def check_disk() -> None:
    """Refuse to start on a nearly full disk.

    Raises:
        LaunchError: Less than ``FREE_BYTES`` is free.
    """
    free = shutil.disk_usage(STATE).free
    if free < FREE_BYTES:
        raise LaunchError(f"only {free / 1024**2:.0f} MiB are free at {STATE}; the stack wants {FREE_BYTES / 1024**2:.0f} MiB")


def check_ports(components: Iterable[Component]) -> None:
    """Refuse to start when somebody else listens on one of our ports.

    Raises:
        LaunchError: With every port that is taken, and by whom where that can be seen.
    """
    taken = [
        f"  port {port} ({component.name}){_holder(port)}"
        for component in components
        for port in component.ports
        if _taken(port)
    ]
    if taken:
        raise LaunchError("these ports are in use; stop what listens there and try again:\n" + "\n".join(taken))


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections("tcp")
        listening = {getattr(each.laddr, "port", 0): each.pid for each in connections if each.status == psutil.CONN_LISTEN}
        pid = listening.get(port)
        return f": process {pid}, {psutil.Process(pid).name()}" if pid else ""
    except psutil.Error:  # macOS shows other people's sockets to root only
        return ""
