"""The controller's side of the BGP sessions, on asyncio.

`Speaker` starts the session process, keeps it running, and turns its frames into calls of a
`SpeakerEvents`.  All of it belongs to one event loop; no method may be called from another thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable

from vpnctl.bgp import hard_reset
from vpnctl.bgp.channel import Channel
from vpnctl.bgp.events import SpeakerEvents
from vpnctl.bgp.messages import cut
from vpnctl.bgp.pacing import Budgets, Frame, Pacing
from vpnctl.bgp.process import HeldElsewhereError, Keep, SessionProcess, died, find, start
from vpnctl.bgp.wire import (
    CONSUMED,
    HELD_ELSEWHERE,
    NOTIFY,
    REFRESH,
    WRITTEN,
    Configure,
    Configured,
    FrameError,
    Kind,
    NeighborConfig,
    NeighborState,
    Problem,
    Ready,
    SessionClosed,
    SessionOpened,
)
from vpnctl.errors import SessionProcessError
from vpnctl.model import Listen

#: Octets of UPDATES handed on before other tasks of the event loop get their turn.
TURN_SIZE = 256 * 1024
#: Frames of a session that do not wait for UPDATES before them.  What an ended session still said
#: is not taken in.
_AT_ONCE = (Kind.WRITTEN, Kind.DOWN)
#: Octets of one SEND frame, unless a single message is longer.
SEND_SIZE = 1024 * 1024
#: Seconds for the process to start, and to end when told to.
START_TIME, STOP_TIME = 20.0, 3.0
#: First and longest pause before a lost process is started again; it starts over from the first
#: when the process lived for the longest.
BACKOFF, LONGEST_BACKOFF = 0.1, 10.0


class Speaker:
    """BGP sessions as the controller sees them.

    ``open_wait``: seconds that a peer has for its OPEN once it is connected.  ``keep``: how the
    session process outlives us, None for not at all.
    """

    def __init__(
        self, events: SpeakerEvents, *, open_wait: int = 30, keep: Keep | None = None
    ) -> None:
        self._events = events
        self._open_wait = open_wait
        self._keep = keep
        self._channel: Channel | None = None
        self._process: SessionProcess | None = None
        self._ready: asyncio.Future[Ready] | None = None
        self._frames: deque[tuple[int, int, bytes]] = deque()
        self._sessions: dict[int, SessionOpened] = {}
        self._next_session = 1
        self._handed_on: dict[int, int] = {}
        self._unconfirmed: set[int] = set()
        self._sent: dict[int, int] = {}
        self._written: dict[int, int] = {}
        self._flush_scheduled = False
        self._budgets = Budgets()
        self._pacing = Pacing(self._hand_on, self._later)
        #: Sessions of another controller are being told of: all of that comes first.
        self._resuming = False
        self._drained = asyncio.Event()
        self._reading = False
        self._writing = False
        self._desired: Configure | None = None
        self._answers: dict[int, asyncio.Future[Configured]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._lost_reason = ""
        self._stopping = False

    # ---------------------------------------------------------------- what the controller calls

    @property
    def process_id(self) -> int | None:
        """Of the session process, while it runs."""
        return self._process.pid if self._process and self._channel else None

    @property
    def found(self) -> bool:
        """Whether the session process was there before us."""
        return self._process is not None and self._process.found

    @property
    def sessions(self) -> dict[int, SessionOpened]:
        """The established sessions by number."""
        return dict(self._sessions)

    def unwritten(self, session: int) -> int:
        """Octets given to `send` that the kernel does not have yet; 0 for a session that ended.

        Send no more to a peer while this is large: the session process keeps all of it.
        """
        return self._sent.get(session, 0) - self._written.get(session, 0)

    async def start(self) -> Ready:
        """Attach to the session process that is there, or start one.

        Sessions that are up already are told of by the first `configure`.  Raises
        `SessionProcessError` when it does not come up, also with another ExaBGP version.
        """
        if self._keeper is not None:
            raise RuntimeError("the speaker was started before")
        ready = await self._attach() or await self._launch()
        self._keeper = asyncio.create_task(self._keep_running(), name="bgp session process")
        return ready

    async def configure(
        self, neighbors: Iterable[NeighborConfig], listens: Iterable[Listen]
    ) -> Configured:
        """Make these the peers and listening addresses; the answer names what could not be done.

        Sessions of unchanged neighbors stay up, changed and removed ones get a Cease.  When the
        process is lost meanwhile, the answer is that of the next one.
        """
        if self._keeper is None or self._stopping:
            raise SessionProcessError("the BGP session process is not running")
        serial = self._desired.serial + 1 if self._desired else 1
        self._desired = Configure(serial, tuple(neighbors), tuple(listens))
        answer: asyncio.Future[Configured] = asyncio.get_running_loop().create_future()
        self._answers[serial] = answer
        self._put(Kind.CONFIGURE, 0, self._desired.to_json())
        try:
            return await answer
        finally:
            self._answers.pop(serial, None)

    def send(self, session: int, data: bytes) -> None:
        """Write whole BGP messages to a peer, in the order of the calls.

        What is for a session that has ended is dropped: its `session_down` may be on the way.
        """
        if session not in self._sessions or not data:
            return
        self._sent[session] += len(data)
        for piece in cut(data, SEND_SIZE):
            self._put(Kind.SEND, session, piece)

    def notify(
        self, session: int, code: int, subcode: int, data: bytes = b"", *, hard: bool = False
    ) -> None:
        """End a session with a NOTIFICATION; `session_down` follows.

        ``hard``: nobody's routes are to stay (RFC 8538 section 3.1).
        """
        opened = self._sessions.get(session)
        if opened is None:
            return
        if hard and opened.graceful_notification:
            data = hard_reset.data_of(code, subcode, data)
            code, subcode = hard_reset.HARD_RESET
        self._put(Kind.NOTIFY, session, NOTIFY.pack(code, subcode) + data)

    def image(self, session: int, piece: bytes, *, heard: bool) -> None:
        """Some of an image that was wanted: messages that say what was heard, or told."""
        if session in self._sessions:
            self._put(Kind.IMAGE_HEARD if heard else Kind.IMAGE_TOLD, session, piece)

    def image_done(self, session: int) -> None:
        """All of an image was given."""
        if session in self._sessions:
            self._put(Kind.IMAGE_DONE, session)

    async def leave(self) -> None:
        """Let the session process go on without us, for another controller to attach to."""
        if self._keep is None:
            await self.stop()
            return
        self._stopping = True
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        process, channel = self._process, self._channel
        if channel is not None:
            self._flush()
            with contextlib.suppress(TimeoutError):
                # What was given to `send` counts as sent, whoever asks for it next.
                await asyncio.wait_for(self._drained.wait(), STOP_TIME)
        self._disconnect()
        if process is not None:
            process.forget()
            self._process = None
        self._answer_no_more()

    async def stop(self) -> None:
        """Cease to every peer and end the process; every session is reported down."""
        if self._stopping:
            return
        self._stopping = True
        self._put(Kind.STOP, 0)
        if self._process is not None and self._channel is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), STOP_TIME)
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self._end_process()
        self._sessions_lost("the route server stopped")
        self._answer_no_more()

    def _answer_no_more(self) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(SessionProcessError("the BGP session process was stopped"))

    # ---------------------------------------------------------------------------- the process

    async def _attach(self) -> Ready | None:
        """Go on with sessions that outlived another controller; None where there are none.

        A process that cannot go on with us ends, or is ended.  Raises `HeldElsewhereError`.
        """
        process = find(self._keep) if self._keep is not None else None
        if process is None:
            return None
        try:
            return await self._greet(process)
        except HeldElsewhereError:
            raise
        except SessionProcessError:
            return None

    async def _launch(self) -> Ready:
        return await self._greet(
            start(first_session=self._next_session, open_wait=self._open_wait, keep=self._keep)
        )

    async def _greet(self, process: SessionProcess) -> Ready:
        """Wait until it is ready."""
        loop = asyncio.get_running_loop()
        channel = process.channel
        self._process = process
        self._lost.clear()
        self._channel = channel
        self._ready = loop.create_future()
        self._read(True)
        try:
            return await asyncio.wait_for(self._ready, START_TIME)
        except TimeoutError:
            await self._end_process()
            raise SessionProcessError(
                f"the BGP session process did not come up within {START_TIME:.0f} s"
            ) from None
        except HeldElsewhereError:
            self._disconnect()
            process.forget()
            self._process = None
            raise
        except SessionProcessError:
            await self._end_process()
            raise
        finally:
            self._ready = None

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        pause, started = BACKOFF, loop.time()
        while True:
            await self._lost.wait()
            status = await self._end_process()
            reason = self._lost_reason or f"the BGP session process {died(status)}"
            if self._stopping:
                return
            self._sessions_lost(reason)
            self._tell(self._events.process_lost, reason)
            if loop.time() - started >= LONGEST_BACKOFF:
                pause = BACKOFF
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_BACKOFF)
            started = loop.time()
            try:
                await self._launch()
            except SessionProcessError as error:
                self._lose(error.message)
                continue
            if self._desired is not None:
                self._put(Kind.CONFIGURE, 0, self._desired.to_json())

    async def _end_process(self) -> int | None:
        """Leave no process behind; its exit status."""
        self._disconnect()
        process = self._process
        if process is None:
            return None
        try:
            # It ends by itself now that the channel is closed, or it was told to stop.
            status = await asyncio.wait_for(process.wait(), STOP_TIME)
        except TimeoutError:
            process.kill()
            status = await process.wait()
        process.forget()
        self._process = None
        return status

    def _disconnect(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(channel.sock)
            loop.remove_writer(channel.sock)
            channel.close()
        self._reading = self._writing = self._resuming = False
        self._frames.clear()
        self._pacing.clear()

    def _lose(self, reason: str = "") -> None:
        """The process is gone or talks nonsense; `_keep_running` goes on from here."""
        self._lost_reason = reason
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(
                SessionProcessError(
                    reason or "the BGP session process ended while it started",
                    hint="its last words are on the standard error of this program",
                )
            )
        if self._keep is not None and self._channel is not None:
            # It would wait for another controller.
            with contextlib.suppress(OSError):
                self._channel.put(Kind.STOP, 0)
                self._channel.flush()
        self._disconnect()
        self._lost.set()

    def _sessions_lost(self, reason: str) -> None:
        for number, opened in list(self._sessions.items()):
            self._forget(number)
            self._tell(self._events.session_down, number, SessionClosed(opened.neighbor, reason))

    # ---------------------------------------------------------------------------------- input

    def _readable(self) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            frames = channel.receive()
            if frames is not None:
                self._frames.extend(frames)
        except FrameError as error:
            self._misunderstood(error)
            return
        except OSError:
            frames = None
        # What came before the end is still told.
        self._drain(ended=frames is None)

    def _drain(self, *, ended: bool = False) -> None:
        """Hand on about `TURN_SIZE` octets, and go on at the next turn of the event loop."""
        size = 0
        while self._frames and (ended or size < TURN_SIZE):
            kind, session, payload = self._frames.popleft()
            size += len(payload)
            try:
                if session in self._pacing and kind not in _AT_ONCE:
                    self._pacing.add((kind, session, payload))
                else:
                    self._handle(kind, session, payload)
            except FrameError as error:
                self._misunderstood(error)
                return
        self._confirm()
        if ended:
            self._lose()
        elif self._channel is not None:
            self._read(not self._frames)
            if self._frames:
                asyncio.get_running_loop().call_soon(self._drain)

    def _read(self, wanted: bool) -> None:
        """Wait for input, or leave it where it is; the session process then waits too."""
        if self._channel is None or wanted == self._reading:
            return
        self._reading = wanted
        loop = asyncio.get_running_loop()
        if wanted:
            loop.add_reader(self._channel.sock, self._readable)
        else:
            loop.remove_reader(self._channel.sock)

    def _handle(self, kind: int, session: int, payload: bytes) -> None:
        events = self._events
        if kind == Kind.UPDATES:
            if session in self._sessions:
                pause = self._take(session, payload)
                if pause and not self._resuming:
                    self._pacing.wait(session, pause)
        elif kind == Kind.WRITTEN:
            total, at_ns = WRITTEN.unpack(payload)
            if session in self._sessions:
                self._written[session] = total
                self._tell(events.written, session, total, at_ns)
        elif kind == Kind.REFRESH:
            if session in self._sessions:
                self._tell(events.refresh, session, *REFRESH.unpack(payload))
        elif kind in (Kind.UP, Kind.HELD):
            opened = SessionOpened.from_json(payload)
            self._sessions[session] = opened
            self._next_session = session % 0xFFFFFFFF + 1
            self._handed_on[session] = self._sent[session] = self._written[session] = 0
            self._resuming = self._resuming or kind == Kind.HELD
            up = events.session_up if kind == Kind.UP else events.session_held
            self._tell(up, session, opened)
            # Nobody has a burst again by coming again.
            debt = self._budgets.spend(opened.neighbor, 0.0, time.monotonic())
            if debt and not self._resuming:
                self._pacing.wait(session, debt)
        elif kind == Kind.DOWN:
            if session in self._sessions:
                self._forget(session)
                self._tell(events.session_down, session, SessionClosed.from_json(payload))
        elif kind == Kind.STATE:
            moved = NeighborState.from_json(payload)
            self._tell(events.neighbor_state, moved.neighbor, moved.state, moved.reason)
        elif kind == Kind.TOLD:
            if session in self._sessions:
                self._tell(events.told, session, payload)
        elif kind == Kind.RESUMED:
            self._resuming = False
            self._tell(events.resumed)
        elif kind == Kind.IMAGE:
            if session in self._sessions:
                self._tell(events.image_wanted, session)
        elif kind == Kind.CONFIGURED:
            self._answer(Configured.from_json(payload))
        elif kind == Kind.READY:
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(Ready.from_json(payload))
        elif kind == Kind.FAILED:
            problem = Problem.from_json(payload)
            if self._ready is not None and not self._ready.done():
                elsewhere = problem.subject == HELD_ELSEWHERE
                error = HeldElsewhereError if elsewhere else SessionProcessError
                self._ready.set_exception(error(problem.message, hint=problem.hint))
        else:
            raise FrameError(f"kind {kind} is not for the controller")

    def _take(self, session: int, messages: bytes) -> float:
        """Hand on UPDATES of a session; the seconds that its next are to wait."""
        # The processor's time: while others have the processor, nothing is done for this peer.
        begun = time.thread_time()
        self._tell(self._events.updates, session, messages)
        self._handed_on[session] += len(messages)
        self._unconfirmed.add(session)
        worked = time.thread_time() - begun
        return self._budgets.spend(self._sessions[session].neighbor, worked, time.monotonic())

    def _hand_on(self, frame: Frame) -> float:
        """The same, and any other frame, of a session that has waited."""
        kind, session, payload = frame
        pause = 0.0
        try:
            if kind == Kind.UPDATES:
                pause = self._take(session, payload)
            else:
                self._handle(kind, session, payload)
        except FrameError as error:
            self._misunderstood(error)
            return 0.0
        self._confirm()
        return pause

    def _misunderstood(self, error: FrameError) -> None:
        self._lose(f"the BGP session process is not understood: {error}")

    def _later(self, seconds: float, function: Callable[[int], None], session: int) -> None:
        asyncio.get_running_loop().call_later(seconds, function, session)

    def _answer(self, configured: Configured) -> None:
        # A configuration stands for all those before it, which a lost process left unanswered.
        for serial, answer in self._answers.items():
            if serial <= configured.serial and not answer.done():
                answer.set_result(configured)

    def _forget(self, session: int) -> None:
        del self._sessions[session]
        for octets in (self._handed_on, self._sent, self._written):
            del octets[session]
        self._unconfirmed.discard(session)
        self._pacing.forget(session)

    def _tell(self, event: Callable[..., None], *arguments: object) -> None:
        try:
            event(*arguments)
        except Exception as error:  # the controller's mistake; reading goes on
            context = {"message": f"a BGP event was not handled: {error!r}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _confirm(self) -> None:
        for session in self._unconfirmed:
            self._put(Kind.CONSUMED, session, CONSUMED.pack(self._handed_on[session]))
        self._unconfirmed.clear()

    # --------------------------------------------------------------------------------- output

    def _put(self, kind: Kind, session: int, payload: bytes = b"") -> None:
        if self._channel is None:
            return  # the process is being replaced; the new one learns what it needs
        self._channel.put(kind, session, payload)
        if not self._writing and not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        channel = self._channel
        if channel is None:
            return
        try:
            channel.flush()
        except OSError:
            return  # the end is read in `_readable`, after what came before it
        writing = channel.backlog > 0
        (self._drained.clear if writing else self._drained.set)()
        if writing != self._writing:
            self._writing = writing
            loop = asyncio.get_running_loop()
            if writing:
                loop.add_writer(channel.sock, self._flush)
            else:
                loop.remove_writer(channel.sock)
