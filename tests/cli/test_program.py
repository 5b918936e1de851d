"""Exit codes, messages, colour, help, completion, interrupts: how the program behaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_controller import PROBLEMS, FakeController
from vpnctl.cli.command import hoist
from vpnctl.errors import PolicyError, VpnctlError

ESCAPE = "\x1b["
COMMANDS = [
    *("init", "check", "plan", "apply", "confirm", "rollback", "extend", "retract"),
    *("history", "diff", "show", "explain", "graph", "watch"),
    *("serve", "status", "analyze", "demo", "completion"),
]
SHOW = ["peers", "vpns", "sites", "targets", "rib-in", "rib-out", "revisions"]


def program(*words: str, env: dict[str, str] | None = None, **kwargs: Any) -> Any:
    return subprocess.Popen(
        [sys.executable, "-m", "vpnctl", *words],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


@pytest.mark.parametrize(
    "kind", sorted(VpnctlError.__subclasses__(), key=lambda kind: kind.exit_code)
)
def test_every_class_of_error_ends_with_its_exit_code(
    vpnctl: Any, controller: FakeController, kind: type[VpnctlError]
) -> None:
    controller.fail = kind("what is wrong", hint="what to do")
    result = vpnctl("status")
    assert result.exit_code == kind.exit_code
    assert result.stdout == ""
    assert result.stderr == "error: what is wrong\n       what to do\n"


def test_the_help_tells_every_exit_code(vpnctl: Any) -> None:
    text = vpnctl("--help").stdout
    codes = {kind.exit_code for kind in VpnctlError.__subclasses__()} | {0, 1, 130, 141}
    assert codes <= {int(found) for found in re.findall(r"^ *(\d+)  ", text, re.M)}


def test_mistakes_are_all_shown(vpnctl: Any, controller: FakeController) -> None:
    controller.fail = PolicyError("2 mistakes", mistakes=PROBLEMS)
    result = vpnctl("apply", "--yes")
    assert result.exit_code == 3
    assert result.stderr == (
        "policies/e2.yaml:7:11   sites[1].vlan: 214 is taken at pe-c1 port ge-0/0/3 by E7"
        " (policies/e7.yaml:5)\n"
        "                        choose another, or leave it out and one is allocated\n"
        "policies/e2.yaml:12:10  extranet[0].to: no VPN is called 'shared-dns'; did you mean"
        " 'shared-dms'?\n"
        "2 mistakes, nothing was applied\n"
    )


def test_a_defect_of_the_controller_is_one_line(vpnctl: Any, controller: FakeController) -> None:
    controller.fail = KeyError("pe-e1")
    result = vpnctl("status")
    assert result.exit_code == 1
    assert "a defect of the controller" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_defect_of_the_program_is_one_line_and_debug_shows_it(
    vpnctl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("vpnctl.cli.client.Client.get", broken)
    result = vpnctl("status")
    assert result.exit_code == 1
    assert "a defect of vpnctl: ZeroDivisionError: oops" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in vpnctl("status", "--debug").stderr


def test_ctrl_c_ends_with_130(vpnctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vpnctl.cli.client.Client.get", interrupted)
    result = vpnctl("status")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_ctrl_c_ends_watch_of_a_real_process(served: Any, controller: FakeController) -> None:
    controller.endless = True
    process = program("watch", env={"VPNCTL_SOCKET": str(served.socket)})
    assert "pe-c2a" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[1] == "interrupted\n"
    assert process.returncode == 130


def test_ctrl_c_while_modules_are_loaded_ends_without_a_traceback() -> None:
    code = (
        "import sys, vpnctl.__main__ as program\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'vpnctl.cli.main': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Slow())\n"
        "program.main()"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (process.returncode, process.stderr) == (130, "interrupted\n")


def test_a_broken_pipe_is_quiet(served: Any, controller: FakeController) -> None:
    controller.happened = controller.happened * 5000
    process = program("watch", env={"VPNCTL_SOCKET": str(served.socket)})
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(20) == 141
    process.stderr.close()


def test_no_controller_is_said_with_what_to_do(vpnctl: Any, tmp_path: Path) -> None:
    result = vpnctl("status", "--socket", str(tmp_path / "none.sock"))
    assert result.exit_code == 6
    assert f"no controller answers at unix:{tmp_path}/none.sock" in result.stderr
    assert "vpnctl serve" in result.stderr
    assert vpnctl("status", "--url", "http://127.0.0.1:1").exit_code == 6
    assert vpnctl("status", "--url", "ftp://x").exit_code == 2


def test_something_else_that_answers_is_no_controller(vpnctl: Any) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        thread = threading.Thread(target=other.handle_request)
        thread.start()
        result = vpnctl("status", "--url", f"http://127.0.0.1:{other.server_port}")
        thread.join()
    assert result.exit_code == 6
    assert "is no controller of this version" in result.stderr


def test_options_for_everywhere_may_stand_anywhere() -> None:
    assert hoist(["show", "peers", "--socket", "S", "-o", "json", "--debug"]) == [
        "--socket",
        "S",
        "--debug",
        "show",
        "peers",
        "-o",
        "json",
    ]
    assert hoist(["explain", "--url=U", "--", "--socket"]) == [
        "--url=U",
        "explain",
        "--",
        "--socket",
    ]
    assert hoist(["status", "--socket"]) == ["--socket", "status"]


def test_colour_on_a_terminal_unless_no_color(vpnctl: Any, terminal: Any) -> None:
    assert ESCAPE not in vpnctl("plan").stdout
    terminal()
    coloured = vpnctl("plan", color=True).stdout
    assert ESCAPE in coloured
    plain = vpnctl("plan", env={"NO_COLOR": "1"}).stdout
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


@pytest.mark.parametrize("words", [(name,) for name in COMMANDS] + [("show", one) for one in SHOW])
def test_every_command_has_help(vpnctl: Any, words: tuple[str, ...]) -> None:
    result = vpnctl(*words, "--help")
    assert result.exit_code == 0
    if words != ("show",):
        assert "Examples" in result.stdout
        assert f"vpnctl {' '.join(words)}" in result.stdout.partition("Examples")[2]


def test_help_is_grouped_and_complete(vpnctl: Any) -> None:
    text = vpnctl("--help").stdout
    for panel in ("Policy", "Change", "Look", "Controller", "Other"):
        assert f"─ {panel} ─" in text
    for name in COMMANDS:
        assert re.search(rf"│ {name} ", text), name


@pytest.mark.parametrize(
    "words",
    [("nonsense",), ("extend",), ("plan", "--nonsense"), ("status", "-o", "xml"), ("diff", "1")],
)
def test_a_senseless_command_line_ends_with_2(vpnctl: Any, words: tuple[str, ...]) -> None:
    result = vpnctl(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_heavy_modules_are_not_imported_for_help() -> None:
    code = (
        "import sys, vpnctl.cli.main;"
        "print([m for m in ('fastapi', 'pydantic', 'uvicorn', 'sqlalchemy', 'networkx', 'exabgp',"
        " 'ruamel.yaml', 'httpx', 'asyncio') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(vpnctl: Any, shell: str) -> None:
    result = vpnctl("completion", shell)
    assert result.exit_code == 0
    assert f"_VPNCTL_COMPLETE=complete_{shell}" in result.stdout
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=result.stdout, text=True, check=True)


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", {"COMP_WORDS": "vpnctl {}", "COMP_CWORD": "{n}"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "vpnctl {}"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "vpnctl {}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
@pytest.mark.parametrize(
    ("typed", "offered"),
    [("exp", "explain"), ("extend E", "E1"), ("explain x --peer pe-c", "pe-c1")],
)
def test_shells_complete_commands_and_names(
    served: Any,
    controller: FakeController,
    shell: str,
    line: dict[str, str],
    typed: str,
    offered: str,
) -> None:
    del controller
    env = {name: text.format(typed, n=len(typed.split())) for name, text in line.items()}
    env |= {"_VPNCTL_COMPLETE": f"complete_{shell}", "VPNCTL_SOCKET": str(served.socket)}
    code = "from vpnctl.__main__ import main; main()"
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert re.search(rf"\b{offered}\b", process.stdout), process


def test_the_default_socket_must_lie_in_a_directory_of_ones_own(
    vpnctl: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("VPNCTL_SOCKET")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert vpnctl("status").exit_code == 6
    directory = tmp_path / "vpnctl"
    directory.mkdir()
    directory.chmod(0o777)
    result = vpnctl("status")
    assert result.exit_code == 2
    assert "not a directory of yours alone" in result.stderr
