"""The console: a database of PgBeam's own, `pgbeam`, whose tables say what it does and whose commands steer it.

`tables` collects what one process knows, `merging` makes one table of those of several workers; the same tables go
to whoever asks over the control socket. `language` reads commands, `commands` does them, `conversation` speaks the
protocol with one client, `access` says who is let in.
"""
