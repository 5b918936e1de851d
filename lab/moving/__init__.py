"""Machines that move between the clouds of ``lab/migrate.clab.yml``, while somebody talks to them.

`stage` has the lab with its agents, `demo` is ``make migrate-demo``, `picture` what it shows in the
end.  The benchmark ``lab.bench.migrate`` and the story ``tests/scenarios/machine_moves`` use them.
"""
