"""What PgBeam serves over HTTP at `metrics_listen`: metrics, health, and with `dashboard = true` a page and its API.

`server` is Twisted's part, the only one that knows of connections. Everything else takes a `HttpRequest` and gives a
`HttpReply`: `routes` finds who answers, `exposition` writes metrics, `health` tells whether clients are welcome,
`dashboard` puts the rest behind `entrance`, which lets in who has the token: `api` and `rules` are the JSON API,
`history` remembers what the charts show and `tail` the log, `page` serves files. All of them look at a running PgBeam
through `Source` in `source`, which is one process or a supervisor of several: what is asked there comes as one answer
for all.
"""
