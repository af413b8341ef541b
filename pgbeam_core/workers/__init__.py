"""Several processes as one PgBeam: `workers = N`.

The process that was started becomes the `supervisor`: it accepts clients (`acceptor`), hands each to the worker with
the fewest (`worker_pool`), has the control socket (`relay`), adds up what workers count (`aggregate`), and replaces
workers that die (`backoff`). It never sees a byte of a client. A `worker` is a PgBeam without listeners, in a
`process` of its own; each has a `link` to the supervisor, on which both speak and clients are handed over. `clients`
is what a worker's clients have beyond those of a single process, `quotas` what it may use of the numbers that are set
for all.
"""
