"""What an operator's own templates may take, for one router."""

from __future__ import annotations

#: Seconds of the processor's time.
CPU_S = 3
#: Seconds after which nobody waits for it any more, on a machine that is busy, too.
WALL_S = 60.0
#: Mebibytes that they make at most, and that they need for it.
MOST_MIB, MEMORY_MIB = 16, 1024

#: The first octet of an answer: what was made follows, or what is wrong.
MADE, WRONG = b"+", b"-"
