"""The daemons that do the same work, each configured in its own way."""

from lab.bench.subjects.base import Daemon, Setup, Subject, UnsupportedError
from lab.bench.subjects.bird import Bird
from lab.bench.subjects.frr import Frr
from lab.bench.subjects.gobgp import Gobgp
from lab.bench.subjects.vpnctl import Vpnctl

#: By the name used on the command line; the first of a name's variants is its best.
SUBJECTS: dict[str, Subject] = {
    subject.name: subject
    for subject in (Vpnctl(), Bird("import"), Bird("export"), Frr("in"), Frr("out"), Gobgp())
}

__all__ = ["SUBJECTS", "Daemon", "Setup", "Subject", "UnsupportedError"]
