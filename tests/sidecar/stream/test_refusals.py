"""What QEMU's monitor says decides whether a migration may begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from vpnctl.sidecar.stream.refusals import QUERIES, refusals

#: What a guest answers that may go.
FINE: dict[str, Any] = {
    "version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "Debian"},
    "target": {"arch": "x86_64"},
    "kvm": {"enabled": True, "present": True},
    "memory": {"base-memory": 256 << 20, "plugged-memory": 0},
    "capabilities": [
        {"capability": "return-path", "state": True},
        {"capability": "events", "state": True},
        {"capability": "pause-before-switchover", "state": True},
        {"capability": "multifd", "state": False},
    ],
    "parameters": {"tls-creds": "", "max-bandwidth": 134217728},
    "machine": "pc-q35-7.2-machine",
    "devices": [
        {"name": "net0", "type": "child<virtio-net-pci>"},
        {"name": "type", "type": "string"},
    ],
    "unnamed-devices": [{"name": "type", "type": "string"}],
}
TCG = {"enabled": False, "present": True}


def refused(**changed: Any) -> list[str]:
    answers: Mapping[str, Any] = {
        **FINE,
        **{name.replace("_", "-"): answer for name, answer in changed.items()},
    }
    return [refusal.name for refusal in refusals(answers)]


def with_capability(name: str) -> list[dict[str, Any]]:
    return [*FINE["capabilities"], {"capability": name, "state": True}]


def version(major: int, minor: int) -> dict[str, Any]:
    return {"qemu": {"major": major, "minor": minor, "micro": 0}}


def test_every_answer_is_asked_for() -> None:
    assert {query.name for query in QUERIES} == FINE.keys()


def test_a_plain_guest_may_go() -> None:
    assert refused() == []


@pytest.mark.parametrize(
    "name",
    [
        "multifd", "compress", "postcopy-ram", "block", "dirty-bitmaps", "x-ignore-shared",
        "background-snapshot", "mapped-ram", "rdma-pin-all", "release-ram", "x-colo", "xbzrle",
    ],
)  # fmt: skip
def test_capabilities_that_hide_pages_are_refused(name: str) -> None:
    assert refused(capabilities=with_capability(name)) == [name]


def test_a_capability_of_tomorrow_is_refused() -> None:
    assert refused(capabilities=with_capability("teleport")) == ["teleport"]


def test_the_return_path_must_be_on() -> None:
    assert refused(capabilities=[{"capability": "return-path", "state": False}]) == ["return-path"]


def test_qemus_own_encryption_and_other_modes_are_refused() -> None:
    assert refused(parameters={"tls-creds": "tls0"}) == ["tls-creds"]
    assert refused(parameters={"mode": "cpr-reboot"}) == ["mode"]
    assert refused(parameters={"mode": "normal"}) == []


@pytest.mark.parametrize(
    ("machine", "names"),
    [
        ("pc-i440fx-2.3-machine", ["pc-i440fx-2.3"]),
        ("pc-q35-1.7-machine", ["pc-q35-1.7"]),
        ("pc-1.3-machine", ["pc-1.3"]),
        ("pc-i440fx-2.4-machine", []),
        ("pc-i440fx-10.0-machine", []),
        ("pc-q35-10.0-machine", []),
        ("microvm-machine", []),
    ],
)
def test_machine_types_before_2_4_are_refused(machine: str, names: list[str]) -> None:
    assert refused(machine=machine) == names


def test_other_architectures_are_refused() -> None:
    assert refused(target={"arch": "aarch64"}, machine="virt-9.0-machine") == ["aarch64"]


def test_a_vfio_device_is_refused_by_its_name() -> None:
    devices = [*FINE["devices"], {"name": "gpu", "type": "child<vfio-pci>"}]
    (refusal,) = refusals({**FINE, "devices": devices})
    assert str(refusal) == (
        "vfio-pci: device 'gpu' sends state of unknown length while the guest runs; "
        "detach it first: device_del gpu"
    )


@pytest.mark.parametrize(
    ("qemu", "kvm", "memory", "names"),
    [
        ((7, 2), TCG, {"base-memory": 256 << 20}, ["tcg-256k"]),
        ((8, 2), TCG, {"base-memory": (256 << 20) - (256 << 10)}, ["tcg-256k"]),
        ((7, 2), TCG, {"base-memory": (256 << 20) - (8 << 10)}, []),
        ((7, 2), TCG, {"base-memory": 8 << 10, "plugged-memory": 1 << 30}, ["tcg-256k"]),
        ((9, 0), TCG, {"base-memory": 256 << 20}, []),
        ((10, 0), TCG, {"base-memory": 256 << 20}, []),
        ((7, 2), FINE["kvm"], {"base-memory": 256 << 20}, []),
    ],
)  # fmt: skip
def test_old_qemu_in_emulation_corrupts_round_sizes(
    qemu: tuple[int, int], kvm: dict[str, Any], memory: dict[str, int], names: list[str]
) -> None:
    assert refused(version=version(*qemu), kvm=kvm, memory=memory) == names


def test_all_reasons_are_given_at_once() -> None:
    assert refused(
        capabilities=with_capability("multifd"), kvm=TCG, machine="pc-i440fx-2.1-machine"
    ) == ["multifd", "pc-i440fx-2.1", "tcg-256k"]
