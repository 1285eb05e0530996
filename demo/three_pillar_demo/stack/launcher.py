"""Starts the components in stages, watches them, and stops them along the data's way.

One loop decides everything. A thread finds or builds the binaries one after the other (two builds at once would only be
slower on two cores) and puts what it learns on a queue; signals set a flag; the loop looks at queue, flag and children.
"""

import queue
import signal
import threading
import time
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from types import FrameType

import psutil
from rich.console import Console

from three_pillar_demo.stack import binaries, control, state
from three_pillar_demo.stack.components import DEFAULT, MODES, STATE, Component
from three_pillar_demo.stack.preflight import LaunchError, check_disk, check_official, check_ports
from three_pillar_demo.stack.process import KILL_SECONDS, Child, stop, stop_orphans
from three_pillar_demo.stack.progress import Board

TICK = 0.1
BUILD_GRACE = 3.0
"""Seconds that Go gets to clear away its temporary files."""

Found = tuple[Component, Path | BaseException]


class Launcher:
    """One run of the house."""

    def __init__(self, console: Console, mode: str = DEFAULT) -> None:
        """Prepare for one of ``components.MODES``; nothing is started yet."""
        self.components = MODES[mode]
        self.console = console
        self.board = Board(self.components, console)
        self.children: dict[str, Child] = {}
        self.executables: dict[str, Path | None] = {}
        self.found: queue.Queue[Found] = queue.Queue()
        self.finder = threading.Thread(target=self._find_binaries, daemon=True)
        self.signals = 0
        self.stopping = False
        self.run = state.Run(state.current_process(), time.time(), mode)

    def up(self) -> None:
        """Start everything, say so, and stay until a signal; then stop everything.

        Raises:
            LaunchError: Something is in the way, fails to build, does not become ready, or dies. All else is stopped by then.
            state.RunningError: Another launcher is running.
        """
        try:
            with state.only_one():
                for doubt in check_official(self.components):
                    self.console.print(doubt, style="yellow", soft_wrap=True)
                stop_orphans(self.console)
                check_disk()
                check_ports(self.components)
                self._run()
        except OSError as error:
            raise LaunchError(str(error)) from error

    def _run(self) -> None:
        handlers = {
            number: signal.getsignal(number)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
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
        if (
            number != signal.SIGHUP or not self.signals
        ):  # shell and kernel both send one when a window is closed
            self.signals += 1

    def _start(self) -> None:
        began = time.monotonic()
        control.forget()
        self.run.save()
        for component in self.components:
            if not isinstance(component.binary, binaries.Binary):
                self._spawn(component, component.binary.path if component.binary else None)
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
            if not isinstance(component.binary, binaries.Binary):
                continue
            try:
                self.found.put((component, self._find_or_build(component, component.binary)))
            except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever it is: the loop waits to hear of it)
                self.found.put((component, error))
                return

    def _find_or_build(self, component: Component, binary: binaries.Binary) -> Path:
        if at_hand := binaries.find(binary):
            path, where = at_hand
            self.board.step(
                component.name, f"{binary.name} {binary.version} found {where}", counting=True
            )
            return path
        self._tell(component, "building")
        path = binaries.build(
            binary,
            STATE / "logs" / f"build-{component.name}.log",
            lambda step: self._tell(component, f"building: {step}"),
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
            raise LaunchError(
                str(path) if known else f"{component.name}: {type(path).__name__}: {path}"
            ) from path
        self._spawn(component, path)

    def _spawn(self, component: Component, executable: Path | None) -> None:
        self.board.step(component.name, "starting")
        try:
            child = Child(component, executable)
        except OSError as error:
            raise LaunchError(f"{component.name} cannot be started: {error}") from error
        self.children[component.name], self.executables[component.name] = child, executable
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
            self._look_at_children()
            for name, verb in control.taken():
                self._obey(name, verb)
            time.sleep(TICK)

    def _obey(self, name: str, verb: str) -> None:
        """End or start one component because a person said so; the others go on."""
        if verb in control.ENDED and (child := self.children.pop(name, None)):
            if verb == "stop":
                stop([child], impatient=lambda: self.signals > 0)
            child.kill()
            child.wait(KILL_SECONDS)
            self.run.on_purpose[name] = control.ENDED[verb]
            del self.run.components[name]
            self.board.step(name, f"{control.ENDED[verb]} on purpose")
        elif verb == "start" and name in self.run.on_purpose:
            del self.run.on_purpose[name]
            self._spawn(
                next(each for each in self.components if each.name == name), self.executables[name]
            )
        self.run.save()

    def _stop(self) -> None:
        """Stop along the data's way, so that each hands over what it holds to one that still listens."""
        self.stopping = True
        asked = min(self.signals, 1)
        if self.children:
            with suppress(
                OSError, SystemExit
            ):  # the terminal may be gone; what runs has to be stopped all the same
                self.console.print("stopping", style="dim")
        in_order = sorted(self.children.values(), key=lambda child: child.component.stop_order)
        for _, group in groupby(in_order, key=lambda child: child.component.stop_order):
            stop(list(group), impatient=lambda: self.signals > asked)
        self._stop_build()
        self.run.ready = False
        self.run.components, self.run.on_purpose = {}, {}
        with suppress(OSError):  # a full disk; the reason that is on its way matters more
            self.run.save()

    def _stop_build(self) -> None:
        for end in (psutil.Process.terminate, psutil.Process.kill):
            if not self.finder.is_alive():
                return
            for each in psutil.Process().children(
                recursive=True
            ):  # the components are gone: these belong to a build
                with suppress(psutil.Error):
                    end(each)
            self.finder.join(BUILD_GRACE)  # it removes what it has built so far
