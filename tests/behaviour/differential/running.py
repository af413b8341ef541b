"""Runs conversations, alone or two interleaved, and makes their transcripts comparable."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Sequence
from typing import Any

from ..beams import Direct
from ..clusters import RESET, Cluster
from ..wireclient import Closed, Frame, LoginRefused, WireClient
from .dsl import Cancel, Conversation, Elsewhere, HangUp, Quiet, Say, Step, Working

Transcript = list[list[Frame]]
"""What was received, step by step; the login is the first step. The tag `!` marks an end that is no frame."""

_FIRST_USER_OID = 16384
_CLEAN = f"""
SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
{RESET}
"""


def alone(place: Direct, conversation: Conversation) -> Transcript:
    """Run it once, in a fresh shop."""
    clean(place.cluster)
    talker = Talker(place, conversation, "a")
    try:
        while talker.step():
            pass
    finally:
        talker.close()
    return talker.transcript


def interleaved(place: Direct, conversation: Conversation) -> tuple[Transcript, Transcript]:
    """Run it for two clients in a fresh shop, changing over whenever one is idle outside a transaction."""
    clean(place.cluster)
    talkers: list[Talker] = []
    try:
        talkers += [Talker(place, conversation, "a")]
        talkers += [Talker(place, conversation, "b")]
        going = list(talkers)
        while going:
            for talker in list(going):
                if not talker.turn():
                    going.remove(talker)
    finally:
        for talker in talkers:
            talker.close()
    return talkers[0].transcript, talkers[1].transcript


def clean(cluster: Cluster) -> None:
    """The shop as it was seeded, without large objects or prepared transactions."""
    with cluster.connect() as boss:
        boss.execute("SET lock_timeout = '10s'; SET client_min_messages = error")
        for (name,) in boss.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            boss.execute(f"ROLLBACK PREPARED '{name}'".encode())
        boss.execute(_CLEAN)


class Talker:
    """One client in the middle of a conversation."""

    def __init__(self, place: Direct, conversation: Conversation, me: str) -> None:
        self.place = place
        self.transcript: Transcript = []
        self.at_rest = True
        self._script = conversation.begin(me)
        self._client: WireClient | None = None
        self._given: list[Frame] | None = None
        login: dict[str, Any] = {"parameters": conversation.parameters, "protocol": conversation.protocol}
        try:
            self._client = place.wire(conversation.user, **login)
            self.transcript.append(self._client.greeting)
        except LoginRefused as refused:
            self.transcript.append(refused.frames)
        except Closed as closed:
            self.transcript.append([Frame(b"!", b"closed" + closed.rest)])

    def turn(self) -> bool:
        """Take steps until idle outside a transaction; False at the end of the script."""
        while self.step():
            if self.at_rest:
                return True
        return False

    def step(self) -> bool:
        """Take one step; False at the end of the script."""
        if self._client is None:
            return False
        try:
            wanted = next(self._script) if self._given is None else self._script.send(self._given)
        except StopIteration:
            return False
        self._given = []
        self.transcript.append(self._given)
        try:
            self._take(wanted, self._client)
        except TimeoutError:
            return self._end(b"timeout")
        except Closed as closed:
            return self._end(b"closed" + closed.rest)
        except ConnectionError:
            return self._end(b"reset")
        return True

    def close(self) -> None:
        """Hang up without a word."""
        if self._client is not None:
            self._client.close()

    def _end(self, how: bytes) -> bool:
        assert self._given is not None
        self._given.append(Frame(b"!", how))
        self.close()
        self._client = None
        return False

    def _take(self, step: Step, client: WireClient) -> None:
        assert self._given is not None
        match step:
            case Say(data, until, times, chunk):
                client.send(data, chunk)
                self.at_rest = False
                self._read(client, until, times)
            case Quiet(seconds):
                self._listen(client, seconds)
            case Elsewhere(sql):
                with self.place.cluster.connect() as boss:
                    boss.execute(sql.encode())
            case Working(text):
                self._wait_for(text)
            case Cancel():
                client.cancel()
            case HangUp(data):
                client.send(data)
                self._read(client, b"", 1)

    def _read(self, client: WireClient, until: bytes | int | None, times: int) -> None:
        assert self._given is not None
        left = 0 if until is None else until if isinstance(until, int) else times
        while left:
            got = client.frame()
            self._given.append(got)
            left -= isinstance(until, int) or got.tag == until
        self.at_rest = bool(self._given) and self._given[-1] == (b"Z", b"I")

    def _listen(self, client: WireClient, seconds: float) -> None:
        assert self._given is not None
        deadline = time.monotonic() + seconds
        try:
            while True:
                self._given.append(client.frame(deadline - time.monotonic()))
        except TimeoutError:
            return

    def _wait_for(self, text: str) -> None:
        find = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE %s"
        deadline = time.monotonic() + 10
        with self.place.cluster.connect() as boss:
            while not boss.execute(find, [f"%{text}%"]).fetchone():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no active query contains {text!r}")
                time.sleep(0.01)


def comparable(transcript: Transcript, masks: Sequence[str] = (), *, own: bool = False) -> list[list[Frame]]:
    """The transcript with what cannot be equal replaced, and nothing else.

    Replaced: process id and key of BackendKeyData (their lengths stay), the process id of a NotificationResponse,
    OIDs of objects made after initdb in descriptions (numbered by first appearance), and the conversation's masks;
    with `own` also file, line and routine of errors.
    """
    normaliser = _Normaliser([re.compile(mask.encode()) for mask in masks], own)
    return [[Frame(each.tag, normaliser.body(each)) for each in step] for step in transcript]


class _Normaliser:
    def __init__(self, masks: list[re.Pattern[bytes]], own: bool) -> None:
        self._own = own
        self._masks = masks
        self._oids: dict[int, int] = {}

    def body(self, frame: Frame) -> bytes:
        match frame.tag:
            case b"K":
                return bytes(len(frame.body))
            case b"A":
                return bytes(4) + frame.body[4:]
            case b"T":
                return self._row_description(frame.body)
            case b"t":
                count = struct.unpack_from("!h", frame.body)[0]
                oids = struct.unpack_from(f"!{count}I", frame.body, 2)
                return struct.pack(f"!h{count}I", count, *map(self._oid, oids))
            case b"E" if self._own:
                return b"\0".join(part for part in frame.body.split(b"\0") if part[:1] not in (b"F", b"L", b"R"))
            case b"D" if self._masks:
                return self._row(frame.body)
        return self._masked(frame.body)

    def _oid(self, oid: int) -> int:
        if oid < _FIRST_USER_OID:
            return oid
        return self._oids.setdefault(oid, _FIRST_USER_OID + len(self._oids))

    def _masked(self, data: bytes) -> bytes:
        for mask in self._masks:
            data = mask.sub(b"<masked>", data)
        return data

    def _row_description(self, body: bytes) -> bytes:
        out, at = bytearray(body), 2
        for _ in range(struct.unpack_from("!h", body)[0]):
            at = body.index(b"\0", at) + 1
            struct.pack_into("!I", out, at, self._oid(struct.unpack_from("!I", body, at)[0]))
            struct.pack_into("!I", out, at + 6, self._oid(struct.unpack_from("!I", body, at + 6)[0]))
            at += 18
        return bytes(out)

    def _row(self, body: bytes) -> bytes:
        out, at = [body[:2]], 2
        for _ in range(struct.unpack_from("!h", body)[0]):
            size = struct.unpack_from("!i", body, at)[0]
            value = self._masked(body[at + 4 : at + 4 + size]) if size >= 0 else b""
            out.append(struct.pack("!i", len(value) if size >= 0 else -1) + value)
            at += 4 + max(size, 0)
        return b"".join(out)


def difference(direct: Transcript, beam: Transcript, masks: Sequence[str] = (), *, own: bool = False) -> str:
    """Where the two part, in words; empty if they are equal byte for byte after normalisation."""
    expected, got = comparable(direct, masks, own=own), comparable(beam, masks, own=own)
    for number, (want, have) in enumerate(zip(expected, got, strict=False)):
        if want != have:
            return _step_difference(number, want, have)
    if len(expected) != len(got):
        return f"{len(expected)} steps direct, {len(got)} through PgBeam"
    return ""


def _step_difference(number: int, want: list[Frame], have: list[Frame]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(want, have, strict=False)) if a != b), min(len(want), len(have)))
    first = max(0, at - 2)
    lines = [f"step {number} ({'login' if number == 0 else 'counted from 1'}), frame {at}:"]
    lines += [f"  direct  {_shown(frame)}" for frame in want[first : at + 4]]
    lines += [f"  pgbeam  {_shown(frame)}" for frame in have[first : at + 4]]
    lines.append(f"  tags direct {_tags(want)}")
    lines.append(f"  tags pgbeam {_tags(have)}")
    return "\n".join(lines)


def _shown(frame: Frame) -> str:
    return f"{frame.tag.decode()} {frame.body[:300]!r}"


def _tags(step: list[Frame]) -> str:
    return b"".join(frame.tag for frame in step[:200]).decode()
