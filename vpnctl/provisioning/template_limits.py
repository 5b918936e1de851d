"""What an operator's own templates may take, for one router."""

from __future__ import annotations

#: Seconds of the processor's time.
CPU_S = 3
#: Seconds after which nobody waits for it any more, on a machine that is busy, too.
WALL_S = 60.0
#: Mebibytes that they make at most, and that the process may have for it: 160 where each character
#: takes four octets.  No more than that, because a machine that is short of memory may take all of
#: `CPU_S` to find it, and a template that never stops asking would be told that it is slow.
MOST_MIB, MEMORY_MIB = 16, 256

#: The first octet of an answer: what was made follows, or what is wrong.
MADE, WRONG = b"+", b"-"
