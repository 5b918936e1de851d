"""The lab's tests: ``lab`` builds one, see `tests.support.lab`."""

from tests.support.lab import lab as lab
