"""Builds a lab: carries out the steps of `vpnctl.lab.plan`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from vpnctl.errors import LabError
from vpnctl.lab import frr, kernel, preflight, sessions, state
from vpnctl.lab.lab import Lab
from vpnctl.lab.plan import (
    AwaitSessions,
    Execute,
    MakeLink,
    MakeNamespace,
    StartFrr,
    StartProgram,
    Step,
    plan,
)
from vpnctl.lab.reading import read_topology
from vpnctl.lab.state import LabRecord
from vpnctl.lab.teardown import down
from vpnctl.lab.topology import Node, Role
from vpnctl.lab.wan import link as wan

#: Told before each step: its number from 1, how many there are, what it does.
Tell = Callable[[int, int, str], None]
#: MTU of a link that gives none, in octets: containerlab's own; and of a WAN link, which has room
#: for a VXLAN header around a full Ethernet frame.
_MTU, _WAN_MTU = 9500, 1600


@dataclass(frozen=True, slots=True)
class Source:
    """A topology as text, its file's name, and the directory that its paths are relative to."""

    file: str
    text: str
    directory: Path


def up(source: Source, tell: Tell, *, leave_silent: bool = False) -> Lab:
    """Build a lab until every session of its controllers is established.

    What was built is taken down again when a step fails or is interrupted; but for ``leave_silent``
    where sessions do not come up, for then it is the lab that shows why.

    Raises `TopologyError`, `LabError`.
    """
    topology = read_topology(source.file, source.text.encode())
    layout = state.layout_of(topology.name)
    steps = plan(topology, layout)
    directory = source.directory.resolve()
    preflight.check(topology, directory)
    with state.locked(layout.name):
        state.check_home(layout)
        there = state.read(layout)
        preflight.check_free(layout, None if there is None else there.complete)
        record = LabRecord(
            topology.name,
            source.file,
            str(directory),
            source.text,
            tuple(layout.namespace(node) for node in topology.nodes),
        )
        _check_namespaces(record)
        builder = _Builder(Lab(record, topology, layout))
        try:
            state.make_home(layout)
            state.write(layout, record)
            for number, step in enumerate(steps, 1):
                tell(number, len(steps), str(step))
                if isinstance(step, AwaitSessions):
                    record = replace(record, complete=True)
                    state.write(layout, record)
                builder.take(step)
            record = replace(record, complete=True)
            state.write(layout, record)
        except sessions.NotEstablishedError as error:
            if leave_silent:
                error.hint = (
                    f"look: vpnctl lab inspect {record.name}, and the logs in {layout.home}/nodes;"
                    f" then: vpnctl lab down {record.name}"
                )
                raise
            error.hint = f"to look at it: vpnctl lab up {source.file}"
            down(layout, record)
            raise
        except BaseException:
            down(layout, record)
            raise
    return Lab(record, topology, layout)


def _check_namespaces(record: LabRecord) -> None:
    taken = [name for name in record.namespaces if kernel.exists(name)]
    if taken:
        raise LabError(
            f"namespaces of these names are there already: {', '.join(taken)}",
            hint="they are of no lab that is known here: 'ip netns delete NAME' removes each",
        )


class _Builder:
    """One method for each kind of step."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def take(self, step: Step) -> None:
        """Carry out a step.  Raises `LabError`."""
        match step:
            case MakeNamespace(node):
                self._make_namespace(node)
            case MakeLink():
                self._make_link(step)
            case StartFrr(nodes):
                frr.start([_router(self._lab, node) for node in nodes])
            case Execute(node):
                self._execute(node)
            case StartProgram(node):
                _start_command(self._lab, node)
            case AwaitSessions():
                sessions.wait(self._lab)

    def _make_namespace(self, node: Node) -> None:
        layout = self._lab.layout
        own = [Path(place) for place in layout.own(node).values()]
        for directory in (*own, Path(layout.node(node.name)) / "root"):
            directory.mkdir(parents=True, exist_ok=True)
        if node.role is Role.FRR:
            frr.prepare(own)
        namespace = layout.namespace(node.name)
        kernel.make_namespace(namespace, node.sysctls)
        if node.role is Role.BRIDGE:
            kernel.make_bridge(namespace)

    def _make_link(self, step: MakeLink) -> None:
        layout, link = self._lab.layout, step.link
        one, other = (layout.namespace(end.node) for end in link.ends)
        if link.wan is None:
            kernel.join(link.ends, (one, other), link.mtu or _MTU)
        else:
            directory = Path(layout.wan(step.number))
            directory.mkdir(parents=True)
            ends = (
                wan.LinkEnd(one, link.ends[0].interface),
                wan.LinkEnd(other, link.ends[1].interface),
            )
            made = wan.create(directory, ends, link.wan.figures, mtu=link.mtu or _WAN_MTU)
            if made.pid is not None:
                state.note_process(layout, link.ends[1].node, f"wan {link.wan.name}", made.pid)
        for end in link.ends:
            if self._lab.node(end.node).role is Role.BRIDGE:
                kernel.make_port(layout.namespace(end.node), end.interface)

    def _execute(self, node: Node) -> None:
        shell = self._lab.shell(node.name)
        for command in node.execs:
            done = shell.run(command)
            if done.returncode:
                said = (done.stderr or done.stdout).strip()
                raise LabError(
                    f"'{' '.join(command)}' at {node.name} ended with {done.returncode}: {said}",
                    hint=f"correct topology.nodes.{node.name}.exec ({node.place})",
                )


def start_programs(lab: Lab, name: str) -> None:
    """Start what a node runs, again: FRR's daemons with their configuration, or its ``cmd``.

    Raises `NotFoundError`, `LabError`.
    """
    node = lab.node(name)
    if node.role is Role.FRR:
        frr.start([_router(lab, node)])
    elif node.command:
        _start_command(lab, node)


def _router(lab: Lab, node: Node) -> frr.Router:
    return frr.Router(
        node.name,
        lab.shell(node.name),
        lambda program: Path(lab.layout.log(node.name, program)),
        lambda program, pid: state.note_process(lab.layout, node.name, program, pid),
    )


def _start_command(lab: Lab, node: Node) -> None:
    with Path(lab.layout.log(node.name, "cmd")).open("ab") as log:
        process = lab.shell(node.name).popen(node.command, stdout=log, stderr=log, detached=True)
    state.note_process(lab.layout, node.name, "cmd", process.pid)
