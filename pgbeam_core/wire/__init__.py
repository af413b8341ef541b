"""PostgreSQL's wire protocol, versions 3.0 to 3.2, without sockets and clocks: bytes in, bytes and values out.

Read in this order:

- `tags`: the one-byte message types of both directions, authentication and request codes;
- `frames`: cut a byte stream into whole messages (`FrameCutter`), walk a buffer of them (`split`), make one (`frame`);
- `message`: what all messages share, `to_bytes` and `from_bytes`, and the reader of their bodies;
- `startup`: the packets before the first message, which have no type byte, and the answer to newer protocols;
- `options`: the `options` startup parameter, read as the server reads it;
- `frontend`: what clients send, with quick helpers for the few fields that are looked at per query;
- `backend`: what servers send, with constants and constructors for replies that are made here; `authentication` holds
  the requests that share the type byte R;
- `scram`: SCRAM-SHA-256 from both sides, over `scram_keys` (keys and verifiers) and `passwords` (SASLprep, md5).

A body that is not what its type promises raises `ProtocolViolation`, in PostgreSQL's words where it has them, and never
anything else.
"""
