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

from three_pillar_demo.stack import (
    control,
    native_config,
    port_choice,
    ports,
    queue_files,
    restarts,
    state,
)
from three_pillar_demo.stack.binaries import OTELCOL
from three_pillar_demo.stack.cluster import storage
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.components import DEFAULT, MODES
from three_pillar_demo.stack.environment import tail_sampling_variables, unused_exporter_variables
from three_pillar_demo.stack.port_claims import PortClaims
from three_pillar_demo.stack.preflight import (
    LaunchError,
    check_disk,
    check_environment,
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
from three_pillar_demo.stack.progress import NEXT_STEPS, ProgressDisplay, ignore_lost_output
from three_pillar_demo.stack.restarts import Restarts

START_POLL_INTERVAL_S = 0.03
"""The pause between two looks at components that are starting, in seconds."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Launcher:
    """Runs the stack once, from the checks before the start to the end of all components."""

    def __init__(self, console: Console, mode: str = DEFAULT) -> None:
        """Prepare a run of ``mode``, a key of ``components.MODES``, without starting anything."""
        self.components = {component.name: component for component in MODES[mode]}
        self.console = console
        self.progress = ProgressDisplay(MODES[mode], console, NEXT_STEPS[mode])
        self.children: dict[str, ChildProcess] = {}
        self.executables: dict[str, Path] = {}
        self.signals = 0
        self.restarts = Restarts()
        self.run = state.Run(state.current_process(), time.time(), mode)
        self.claims = PortClaims()
        self.save_problem = ""
        """Why the present state of the run could not be recorded; "" if it is recorded."""

    def up(self) -> None:
        """Start every component, wait for SIGINT, SIGTERM or SIGHUP, and stop every component.

        Raises:
            LaunchError: A check failed, or a component could not be started, did not become ready
                or exited before all were ready. Before the error is raised, all running components
                are stopped.
            state.RunningError: Another launcher is running.
        """
        components = list(self.components.values())
        try:
            with state.launcher_lock():
                check_environment(components)
                self.executables = find_executables(components)
                for warning in version_warnings(components):
                    self._warn(warning)
                stop_orphans(self.console)
                check_disk()
                self._choose_ports(components)
                self._run()
        except (OSError, ports.PortError) as error:
            raise LaunchError(str(error)) from error
        finally:
            self.claims.release()

    def _choose_ports(self, components: list[Component]) -> None:
        """Choose and record a free number for each port, and report what differs from a default."""
        names = {port: component.name for component in components for port in component.ports}
        choices = port_choice.choose(names, self.claims)
        self.run.ports = {choice.port.variable: choice.number for choice in choices}
        for choice in choices:
            if message := choice.message(names[choice.port]):
                self._warn(message)
        for variable in unused_exporter_variables():
            self._warn(f"{variable} is not passed on: the demo sends its telemetry to itself")

    def _warn(self, text: str) -> None:
        with ignore_lost_output():
            self.console.print(text, style="yellow", markup=False, soft_wrap=True)

    def _save(self) -> None:
        """Record the state of the run.

        Once all components are ready, a full disk must not end them: it is reported once, and
        ``_watch`` tries again.

        Raises:
            OSError: It cannot be recorded, and not all components are ready yet.
        """
        try:
            self.run.save()
        except OSError as error:
            if not self.run.ready:
                raise
            if str(error) != self.save_problem:
                self._warn(_save_warning(error))
            self.save_problem = str(error)
        else:
            self.save_problem = ""

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
        if self.run.mode in (state.FULL_MODE, *state.CLUSTER_MODES):
            native_config.write()
        if self.run.mode in state.CLUSTER_MODES:
            storage.create_buckets()
            self.run.tail_sampling = tail_sampling_variables()
            self.run.save()
        with self.progress:
            in_order = sorted(self.components.values(), key=_start_order)
            for _, group in groupby(in_order, key=_start_order):
                self._start_group(list(group))
        if not self.signals:
            self.run.ready = True
            self.progress.summary(time.monotonic() - began)
            self._save()

    def _start_group(self, components: list[Component]) -> None:
        """Start ``components``, and wait until they are ready; a signal ends the wait."""
        for component in components:
            if self.signals:
                return
            self._start(component)
        while not self.signals and not self._are_ready():
            time.sleep(START_POLL_INTERVAL_S)
            self._check_children()

    def _are_ready(self) -> bool:
        return all(child.ready_after_s is not None for child in self.children.values())

    def _start(self, component: Component) -> None:
        self.progress.step(component.name, "starting")
        try:
            if component.binary is OTELCOL:
                for path, reason in queue_files.set_damaged_aside(component.data):
                    self._warn(queue_files.report(path, reason))
            child = ChildProcess(component, self.executables.get(component.name))
        except OSError as error:
            raise LaunchError(f"{component.name} cannot be started: {error}") from error
        self.children[component.name] = child
        self.run.components[component.name] = state.identify(child.process.pid)
        self._save()

    def _check_children(self) -> None:
        for child in list(self.children.values()):
            if child.exit_code is not None:
                if not self.run.ready:
                    raise LaunchError(child.exit_report())
                self._plan_restart(child, child.exit_reason())
            elif child.ready_after_s is None:
                self._check_readiness(child)

    def _check_readiness(self, child: ChildProcess) -> None:
        component = child.component
        if child.probe():
            self.progress.step(component.name, "ready", done=True)
        elif time.monotonic() - child.started > component.ready_timeout_seconds:
            reason = (
                f"is not ready after {component.ready_timeout_seconds:.0f} s; "
                f"last response of {component.ready_url}: {child.last_response}"
            )
            if not self.run.ready:
                raise LaunchError(f"{component.name} {reason}\n  log: {component.log}")
            self._plan_restart(child, reason)

    def _plan_restart(self, child: ChildProcess, reason: str) -> None:
        """End what is left of a component that has exited unexpectedly, and plan its restart."""
        component = child.component
        child.kill()
        child.wait(KILL_TIMEOUT_S)
        del self.children[component.name]
        del self.run.components[component.name]
        self._record_exit(component, reason, child.log_tail())

    def _record_exit(self, component: Component, reason: str, log_tail: str) -> None:
        delay = self.restarts.exited(component.name, time.monotonic())
        earlier = self.run.exits.get(component.name)
        self.run.exits[component.name] = state.UnexpectedExits(
            count=earlier.count + 1 if earlier else 1,
            last_at=time.time(),
            reason=reason,
            log_tail=log_tail,
            gave_up=delay is None,
        )
        self._save()
        self._warn(restarts.report(component.name, reason, delay))
        if log_tail:
            self._warn(f"  last log lines of {component.log}:\n{log_tail}")

    def _start_again(self, component: Component) -> None:
        try:
            self._start(component)
        except LaunchError as error:
            self._record_exit(component, f"is not started: {error}", "")

    def _watch(self) -> None:
        while not self.signals:
            self._check_children()
            for name in self.restarts.pop_due(time.monotonic()):
                self._start_again(self.components[name])
            for name, verb in control.pop_requests():
                self._carry_out(name, verb)
            if self.save_problem:
                self._save()
            time.sleep(POLL_INTERVAL_S)

    def _carry_out(self, name: str, verb: str) -> None:
        """Kill, stop or start one component, as a user has requested; the others keep running."""
        if verb == "start":
            if name in self.components and name not in self.children:
                self.restarts.cancel(name)
                self.run.on_purpose.pop(name, None)
                if exits := self.run.exits.get(name):
                    exits.gave_up = False
                self._start_again(self.components[name])
        elif verb in control.STATE_AFTER and name in self.components:
            self._end_on_purpose(name, verb)
        self._save()

    def _end_on_purpose(self, name: str, verb: str) -> None:
        self.restarts.cancel(name)
        child = self.children.pop(name, None)
        if child:
            if verb == "stop":
                stop([child], should_kill_now=lambda: self.signals > 0)
            child.kill()
            child.wait(KILL_TIMEOUT_S)
            del self.run.components[name]
        self.run.on_purpose[name] = control.STATE_AFTER[verb]
        self.progress.step(name, f"{control.STATE_AFTER[verb]} on purpose")

    def _stop_all(self) -> None:
        """Stop all components in the order of the data flow.

        So each component can flush its data to the next component before the next one stops.
        """
        signals_before = min(self.signals, 1)
        if self.children:
            with ignore_lost_output():
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


def _save_warning(error: OSError) -> str:
    return f"the state of the stack cannot be recorded, trying again: {error}"


def _start_order(component: Component) -> int:
    return component.start_order


def _stop_order(child: ChildProcess) -> int:
    return child.component.stop_order
