"""The state of one conversation, sans-io.

Read `turns` first (what a server owes), then `replies` (the heart: who gets which byte), then `conversation`
(the way of a request from a client to a server and back).

What a conversation is:
    conversation       puts all of this together, and owns the turn that a server owes its client
    state              its phases, and which may follow which; `progress` is that of a turn's request
    runtime            what stands around it
    session            what plugins see of a client

From the client:
    input              what it has sent and nobody has acted on: `inbox` cuts it, `pace` has others served in between
    request_handler    what a request is about: the executions in it, and what PgBeam answers itself
    extended           a request of the extended protocol, read; `forms` tells what it is
    client_statements  the statements and portals that it has made; `prepared` is a statement, here and on a server
    dispatch           asks the plugins about executions
    local              statements about pgbeam.*, which never reach a server; `variables` are what they are about

To a server:
    finding            finds one: the session's own, or one of a pool
    server_settings    gives it the client's run-time parameters, which `settings` keeps
    leasing            keeps it for as long as it must, and gives it back; `inspecting` asks what was left on it
    sending            puts requests of the simple protocol on it; `failing` makes it fail as its client has
    extended_sending   those of the extended protocol, as `rewrite` writes them for one server, and `preparing` has it
                       prepare what they need

And back:
    turns              one request and the reply that the server owes for it; `steps` are the parts of that
    replies            cuts what a server sends into frames; `partial_frames` are not all there yet
    turn_queue         which turn a frame is for; `scripted_replies`, `simple_replies` and `asynchronous` tell whether
                       it may come there, and who gets it
    completion         how turns end; `outcome` and `reporting` tell plugins, `retry` is what nobody has heard of yet
    tracker            what the success of a statement changes; `catalog_view` tells what only the server can know
    copying            COPY: what the client sends goes straight on

Instead of all this:
    fast_path          the short way of plain statements, and what it must be equal to
    transaction        a transaction that is kept back; `boundaries` answers its begin and end, `outside` has its reads,
                       `beginning` makes it real
"""
