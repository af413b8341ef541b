"""Keeps the servers of a conversation for as long as it must, and gives them back; `finding` has found them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pgbeam_core.api.pool import Lease, Server
from pgbeam_core.api.query import Target
from pgbeam_core.session.inspecting import Inspecting
from pgbeam_core.session.settings import HIDDEN
from pgbeam_core.session.state import Phase

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation


class Leasing:
    """The servers of one conversation: at most one in use, and in session mode its own beside a replica."""

    __slots__ = ("_conversation", "_home", "_inspecting")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._home: Lease | None = None
        """In session mode, the client's own server while a replica answers."""
        self._inspecting = Inspecting(conversation.session, conversation.tracker)

    def current_target(self) -> Target:
        """Where the session is now."""
        lease = self._conversation.session.lease
        if lease is None or self.is_leaving:
            return self._conversation.session.project.primary
        return lease.server.target

    def server_target(self) -> Target | None:
        """Where its server is, if it has one."""
        lease = self._conversation.session.lease
        return None if lease is None else lease.server.target

    @property
    def is_leaving(self) -> bool:
        """Whether it has a replica only until that has told what was left on it: what comes next may go elsewhere."""
        conversation = self._conversation
        session, lease = conversation.session, conversation.session.lease
        if lease is None or conversation.turn is not None or lease.server.target == session.project.primary:
            return False
        return not (session.keeps_server or session.begun or session.pins)

    def may_choose(self) -> bool:
        """Whether a query may go elsewhere than where the session is."""
        session = self._conversation.session
        if session.lease is None or self.is_leaving:
            return True
        return session.keeps_server and not (session.begun or session.pins or session.replication)

    @property
    def may_have_prepared(self) -> bool:
        """Whether its server may have a statement that SQL's PREPARE has made, by a function perhaps."""
        return bool(self._conversation.session.pins) or bool(self._inspecting.under_way)

    def leave_replica(self) -> Deferred[None] | None:
        """Give a server back of which nothing but an answer is waited for. Gives what is still to be waited for."""
        if self._inspecting.answered is None:
            self.release_unless_kept()
        lease = self._conversation.session.lease
        return None if lease is None else self._inspecting.answered or lease.server.settled()

    # In session mode the client's own server has its state, and must not be given to anybody while a replica answers.

    def leave_home(self) -> None:
        """The client's own server waits for it, while a replica answers."""
        self._home = self.set_lease(None)

    def come_home(self) -> bool:
        """Back to the client's own server, if it was away. True if it was."""
        if self._home is None:
            return False
        self.set_lease(self._home)
        self._home = None
        return True

    def set_lease(self, lease: Lease | None) -> Lease | None:
        """The session holds this server, or none, from now on: nobody else says so. Gives the one that it held."""
        session = self._conversation.session
        before, session.lease = session.lease, lease
        return before

    def accept_lease(self, lease: Lease) -> None:
        """The session has got this server."""
        self.set_lease(lease)
        if not lease.shared:  # backpressure of one client must not stop a server that others wait for too
            lease.server.attach(self._conversation)
            if self._conversation.client_is_full:
                lease.server.pause()

    # Giving it back.

    def login_is_over(self) -> None:
        """The login is over; its server goes where the pool mode says."""
        session = self._conversation.session
        # Not by `release_unless_kept`: nobody has told this server the client's settings yet.
        if session.lease is not None:
            if session.keeps_server:
                self._conversation.stats.leased(0.0)
            else:
                self._release(session.lease)

    def release_unless_kept(self) -> None:
        """Give the server back if nothing keeps it.

        A transaction keeps it, a pin does, and session mode does. One that is in doubt is asked first, because the
        answer may be a pin; while it is asked, it is still this session's.
        """
        conversation = self._conversation
        session, lease = conversation.session, conversation.session.lease
        if lease is None or session.begun:
            return
        if lease.shared:  # by reads that leave nothing: there is nothing to ask, to reset or to detach
            self.set_lease(None)
            if conversation.client_is_full:
                lease.server.resume()
            lease.release()
        elif self._home is not None:  # a replica, which this client has for one query
            self.give_back(lease)
            self.come_home()
        elif session.keeps_server:
            return
        elif lease.server.in_doubt:
            settled = lease.server.settled()
            if settled is not None:  # the client's cancel request must not hit the inspection
                settled.addCallback(lambda _: self._free(lease))
                return
            self._inspecting.ask(lease, self._free)
        elif not session.pins and not self._inspecting.under_way:
            self.give_back(lease)

    def _free(self, lease: Lease) -> None:
        """What kept this server from being given back is over."""
        # Meanwhile its client may have sent more, which goes on there, or have been given another one.
        if self._conversation.phase is Phase.IDLE and self._conversation.session.lease is lease:
            self.release_unless_kept()

    def give_back(self, lease: Lease) -> None:
        """The lease is over, and the server in order."""
        # Whoever has it next cannot know that it was stopped for this client, nor will this one hear that it drained.
        self._conversation.server_is_full = False
        if self._conversation.client_is_full and not lease.shared:
            lease.server.resume()
        tracker, server = self._conversation.tracker, lease.server
        if tracker.hidden and lease is not self._home:
            # No catalog shows a parameter with a dot in its name that a function has set. With this among its settings
            # the server is what no client wants, and is told RESET ALL before anything of the next one.
            tracker.hidden = False
            server.settings = {**server.settings, HIDDEN: ""}
        self._release(lease)

    def end_unattended(self, request: bytes) -> None:
        """End the server's transaction, which has changed nothing, without anybody waiting for that."""
        lease = self.set_lease(None)
        assert lease is not None
        self._conversation.server_is_full = False
        if self._conversation.client_is_full:
            lease.server.resume()
        lease.server.detach(self._conversation)
        done = lease.server.send_internal(request, "its transaction could not be ended")
        done.addCallback(lambda _: lease.release())

    def part_from(self, lease: Lease) -> None:
        """The server is in order, or gone; what was sent to it is sent elsewhere."""
        lease.server.detach(self._conversation)
        lease.release()

    def holds_server(self, server: Server) -> bool:
        """Whether the session holds that server."""
        return any(one is not None and one.server is server for one in (self._conversation.session.lease, self._home))

    @property
    def must_ask(self) -> bool:
        """Whether the server will have to be asked, or is being asked, what the session has left on it."""
        lease = self._conversation.session.lease
        return bool(self._inspecting.under_way) or (lease is not None and lease.server.in_doubt)

    def _release(self, lease: Lease) -> None:
        self.set_lease(None)
        lease.server.detach(self._conversation)
        lease.server.statements.trim()
        lease.release()

    def server_lost(self, server: Server) -> bool:
        """That server is gone. True if the session cannot go on without it."""
        session = self._conversation.session
        if self._home is not None and self._home.server is server:
            self._home.release()  # a pool counts what it has leased, and is told of each lease that it is over
            self._home = None
            return True
        lease = self.set_lease(None)
        if lease is not None:
            lease.release()
        # In session mode a replica that is lost costs the session nothing: it has its own server still.
        away = self.come_home()
        return session.begun or bool(session.pins) or (session.keeps_server and not away)

    def client_left(self, reason: str, *, idle: bool) -> None:
        session = self._conversation.session
        lease = session.lease
        if lease is not None and lease.shared and not idle:
            turn = self._conversation.turn
            if lease.server.congested and turn is not None and lease.server.is_at_head(turn):
                lease.server.close(f"client left in the middle: {reason}")  # nobody stands behind it
            return  # else others' turns are behind this one: it is let run, and its reply dropped
        for one in (lease, self._home):
            if one is not None:
                self._part_with(one, reason, midway=one is lease and (not idle or session.begun))
        self._home = None

    def _part_with(self, lease: Lease, reason: str, *, midway: bool) -> None:
        """The client is gone, and this was its server."""
        session, server = self._conversation.session, lease.server
        server.detach(self._conversation)
        if midway:  # closing rolls back, and nobody else gets the rest of its reply
            server.close(f"client left in the middle: {reason}")
        elif session.replication:
            server.close("the replication session is over")
        elif session.keeps_server:
            server.state.add("session")  # whatever its functions and triggers have left there
        asks = server.alive and (server.in_doubt or bool(self._inspecting.under_way))
        if asks and not lease.shared:
            if session.lease is lease:
                self.set_lease(None)
            self._inspecting.ask_last(lease)
        else:
            self.give_back(lease)
