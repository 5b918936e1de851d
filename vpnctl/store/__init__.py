"""What a controller must not forget: revisions, allocations, timelines and its journal.

- *Revision*: one applied policy; its policy files, who applied it, whether it is confirmed.
- *Allocation*: a number that was chosen once (`vpnctl.model.Allocation`); the current set.
- *Timeline*: what applying a revision did, step by step.
- *Journal*: work begun with a revision, so that it is completed even after a crash.

`Store` keeps them in SQLite or PostgreSQL.  One controller uses a store at a time.
"""

from vpnctl.store.records import (
    FOLLOWING_STATES,
    LogEntry,
    Operation,
    OperationState,
    Revision,
    RevisionKind,
    RevisionState,
    Step,
)
from vpnctl.store.store import Clock, Store, utc_now

__all__ = [
    "FOLLOWING_STATES",
    "Clock",
    "LogEntry",
    "Operation",
    "OperationState",
    "Revision",
    "RevisionKind",
    "RevisionState",
    "Step",
    "Store",
    "utc_now",
]
