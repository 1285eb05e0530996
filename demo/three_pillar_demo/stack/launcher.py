"""The launcher: starts components, watches them, and stops them in the order of the data flow.

One loop makes every decision. Signal handlers only count signals; the loop looks at the count of
signals, at the child processes and at the requests of other terminals.
"""

import signal
import time
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from types import FrameType

from rich.console import Console

from three_pillar_demo.stack import control, state
from three_pillar_demo.stack.components import DEFAULT, MODES, Component
from three_pillar_demo.stack.preflight import (
    LaunchError,
    check_disk,
    check_ports,
    find_executables,
    version_warnings,
)
from three_pillar_demo.stack.process import (
    KILL_TIMEOUT_S,
    POLL_INTERVAL_S,
    ChildProcess,
    stop,
    stop_orphans,
)
from three_pillar_demo.stack.progress import ProgressDisplay

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Launcher:
    """Runs the stack once, from the checks before the start to the end of all components."""

    def __init__(self, console: Console, mode: str = DEFAULT) -> None:
        """Prepare a run of ``mode``, a key of ``components.MODES``, without starting anything."""
        self.components = {component.name: component for component in MODES[mode]}
        self.console = console
        self.progress = ProgressDisplay(MODES[mode], console)
        self.children: dict[str, ChildProcess] = {}
        self.executables: dict[str, Path] = {}
        self.signals = 0
        self.run = state.Run(state.current_process(), time.time(), mode)

    def up(self) -> None:
        """Start every component, wait for SIGINT, SIGTERM or SIGHUP, and stop every component.

        Raises:
            LaunchError: A check failed, or a component could not be started, did not become ready
                or ended by itself. Before the error is raised, all running components are stopped.
            state.RunningError: Another launcher is running.
        """
        components = list(self.components.values())
        try:
            with state.launcher_lock():
                self.executables = find_executables(components)
                for warning in version_warnings(components):
                    self.console.print(warning, style="yellow", soft_wrap=True)
                stop_orphans(self.console)
                check_disk()
                check_ports(components)
                self._run()
        except OSError as error:
            raise LaunchError(str(error)) from error

    def _run(self) -> None:
        handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        if handlers[signal.SIGHUP] is signal.SIG_IGN:  # The launcher was started with nohup.
            del handlers[signal.SIGHUP]
        for number in handlers:
            signal.signal(number, self._on_signal)
        try:
            self._start_all()
            self._watch()
        finally:
            self._stop_all()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # When a terminal window is closed, both the shell and the kernel send SIGHUP. They count as
        # one signal, because a second one kills the components at once.
        if number != signal.SIGHUP or not self.signals:
            self.signals += 1

    def _start_all(self) -> None:
        began = time.monotonic()
        control.clear()
        self.run.save()
        with self.progress:
            for component in self.components.values():
                if self.signals:
                    return
                self._start(component)
            while not self.signals and not self.run.ready:
                time.sleep(POLL_INTERVAL_S)
                self._check_children()
                self.run.ready = all(
                    child.ready_after_s is not None for child in self.children.values()
                )
        if self.run.ready:
            self.progress.summary(time.monotonic() - began)
            self.run.save()

    def _start(self, component: Component) -> None:
        self.progress.step(component.name, "starting")
        try:
            child = ChildProcess(component, self.executables.get(component.name))
        except OSError as error:
            raise LaunchError(f"{component.name} cannot be started: {error}") from error
        self.children[component.name] = child
        self.run.components[component.name] = state.identify(child.process.pid)
        self.run.save()

    def _check_children(self) -> None:
        for child in self.children.values():
            if child.exit_code is not None:
                raise LaunchError(child.exit_report())
            if child.ready_after_s is None:
                self._check_readiness(child)

    def _check_readiness(self, child: ChildProcess) -> None:
        component = child.component
        if child.probe():
            self.progress.step(component.name, "ready", done=True)
        elif time.monotonic() - child.started > component.ready_timeout_seconds:
            raise LaunchError(
                f"{component.name} is not ready after {component.ready_timeout_seconds:.0f} s; "
                f"last response of {component.ready_url}: {child.last_response}\n"
                f"  log: {component.log}"
            )

    def _watch(self) -> None:
        while not self.signals:
            self._check_children()
            for name, verb in control.pop_requests():
                self._carry_out(name, verb)
            time.sleep(POLL_INTERVAL_S)

    def _carry_out(self, name: str, verb: str) -> None:
        """Kill, stop or start one component, as a user has requested; the others keep running."""
        if verb == "start":
            if self.run.on_purpose.pop(name, None):
                self._start(self.components[name])
        elif verb in control.STATE_AFTER and name in self.children:
            self._end_on_purpose(name, verb)
        self.run.save()

    def _end_on_purpose(self, name: str, verb: str) -> None:
        child = self.children.pop(name)
        if verb == "stop":
            stop([child], should_kill_now=lambda: self.signals > 0)
        child.kill()
        child.wait(KILL_TIMEOUT_S)
        self.run.on_purpose[name] = control.STATE_AFTER[verb]
        del self.run.components[name]
        self.progress.step(name, f"{control.STATE_AFTER[verb]} on purpose")

    def _stop_all(self) -> None:
        """Stop all components in the order of the data flow.

        So each component can flush its data to the next component before the next one stops.
        """
        signals_before = min(self.signals, 1)
        if self.children:
            # The terminal may be gone. The components have to be stopped all the same.
            with suppress(OSError, SystemExit):
                self.console.print("stopping", style="dim")
        in_order = sorted(self.children.values(), key=_stop_order)
        for _, group in groupby(in_order, key=_stop_order):
            stop(list(group), should_kill_now=lambda: self.signals > signals_before)
        self.run.ready = False
        self.run.components = {}
        self.run.on_purpose = {}
        # A full disk must not replace the error that is already being raised.
        with suppress(OSError):
            self.run.save()


def _stop_order(child: ChildProcess) -> int:
    return child.component.stop_order
