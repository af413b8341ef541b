"""The state of one conversation, sans-io.

Read `turns` first (what a server owes), then `replies` (the heart: who gets which byte), then `conversation`
(the way of a request from a client to a server and back).

    state         the phases of a conversation, and which may follow which
    runtime       what stands around a conversation
    session       what plugins see of a client
    requests      cuts what a client sends, on demand; `pace` has others served in between
    extended      the extended protocol: one request read; `forms` tells what it is
    dispatch      asks the plugins about executions
    leasing       finds a server, keeps it, gives it back
    rewrite       a request that was read, written for one server
    sending       puts requests on the server
    turns         one request and the reply the server owes for it; `steps` are its parts
    replies       the queue of turns a server owes, and the walk over what it sends
    completion    how turns end; `outcome` is what plugins hear of that
    fast_path     the short way of plain statements, and what it must be equal to
    transaction   a transaction that is kept back; `boundaries` answers its begin and end, `outside` has its reads,
                  `beginning` makes it real
    tracker       what the success of a statement changes; `inspecting` asks the server what only it knows
    prepared      prepared statements: what a client has, what a server has
    settings      run-time parameters: what a client wants, what a server has
    variables     SET, SHOW, RESET of pgbeam.*
    copying       COPY: what the client sends goes straight on
    conversation  puts these together
"""
