"""The control socket: other processes on this machine ask a running PgBeam, and tell it what to do.

A unix socket `control.sock` under `state_dir`, for its owner only (mode 0600). Requests and replies are JSON objects,
one a line, in UTF-8; the replies come in the order of the requests:

    {"ask": "cache-rules.list"}                            → {"ok": true, "result": …}
    {"ask": "no.such"}                                     → {"ok": false, "error": "…", "sqlstate": "42704"}

What can be asked is up to the plugins (`beam.control.answer(name, function)`); the core itself answers `ping`, `list`
(what can be asked), `stats`, and `workers` (number, process id, clients and seconds since its start, of each). A
request is at most 64 KiB long; a connection on which nothing is asked for 30 seconds is closed.

One PgBeam at a time has the socket of a `state_dir`: it holds a lock on `control.lock` beside it. With several workers
the socket is their supervisor's, which passes requests on.

`registry` knows who answers what, `server` listens, `client` asks.
"""
