"""The state of one conversation, sans-io.

Read `turns` first (what a server owes), then `replies` (the heart: who gets which byte), then `conversation`
(the way of a request from a client to a server and back).

    requests      cuts what a client sends, on demand
    turns         one request and the reply the server owes for it
    replies       the queue of turns a server owes, and the walk over what it sends
    prepared      prepared statements: what a client has, what a server has
    extended      the extended protocol: one request planned, answered or rewritten for a server
    settings      run-time parameters: what a client wants, what a server has
    variables     SET, SHOW, RESET of pgbeam.*
    session       what plugins see of a client
    world         the phases of a conversation, and what stands around it
    questions     asks the plugins about executions
    leasing       finds a server, keeps it, gives it back
    rewrite       a planned request, written for one server
    sending       puts requests on the server
    effects       what the success of a statement changes
    inspection    asks the server what only it knows of a session
    endings       how turns end
    conversation  puts these together
"""
