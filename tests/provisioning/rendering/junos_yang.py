"""Juniper's own YANG as a judge of configurations.

``VPNCTL_JUNOS_YANG`` names a directory with the ``conf`` modules of Juniper's repository; yanglint
of Debian's ``libyang2-tools`` reads them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from lxml import etree

_ROOT = "http://yang.juniper.net/junos/conf"


def complaints(configuration: etree._Element, directory: Path) -> str:
    """What the schema has against a ``<configuration>``; nothing where it is fine.

    Skips the test where there is no schema, or nothing to read it with.
    """
    return complaints_about([configuration], directory)


def complaints_about(configurations: Sequence[etree._Element], directory: Path) -> str:
    """The same for several, each on its own; the schema is read once."""
    folder = os.environ.get("VPNCTL_JUNOS_YANG", "")
    parts = {child.tag for configuration in configurations for child in configuration}
    modules = [_module(Path(folder), part) for part in sorted(parts)]
    root = _module(Path(folder), "root")
    if root is None:
        pytest.skip("VPNCTL_JUNOS_YANG names no directory with Juniper's YANG modules")
    if shutil.which("yanglint") is None:
        pytest.skip("yanglint is missing: install libyang2-tools")
    files = []
    for number, configuration in enumerate(configurations):
        files.append(directory / f"configuration-{number}.xml")
        files[-1].write_bytes(etree.tostring(_spaced(configuration)))
    judged = subprocess.run(
        ["yanglint", "-p", folder, "-t", "config", root, *filter(None, modules), *files],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return judged.stdout + judged.stderr if judged.returncode else ""


def _module(folder: Path, name: str) -> Path | None:
    return next(folder.glob(f"junos-conf-{name}@*.yang"), None)


def _spaced(configuration: etree._Element) -> etree._Element:
    """Junos' own XML as the schema has it: a namespace per module, and choices by name."""
    root = etree.Element(f"{{{_ROOT}/root}}configuration")
    for part in configuration:
        _copy(part, root, f"{_ROOT}/{part.tag}")
    return root


def _copy(element: etree._Element, parent: etree._Element, namespace: str) -> None:
    if element.tag == "add":
        etree.SubElement(parent, f"{{{namespace}}}choice-ident").text = "add"
        etree.SubElement(parent, f"{{{namespace}}}choice-value")
        return
    copy = etree.SubElement(parent, f"{{{namespace}}}{element.tag}")
    copy.text = element.text
    for child in element:
        _copy(child, copy, namespace)
