"""The short way of requests that are one plain statement and nothing else.

What applications send all day is one SELECT, INSERT, UPDATE or DELETE, as a Query message or as Parse, Bind, Describe,
Execute and Sync with the unnamed portal, in one chunk; and the reply comes in one chunk too. Such a request is
recognised as a whole and its reply handed on as a whole; plugins and pools are asked as for any other. Everything that
is not exactly of that form goes the long way, which this one must not differ from in anything but speed:

    here                            its twin, the long way     what keeps them equal
    recognition.FastPath.recognise  Inbox, Input._message      It takes whole requests only, while nothing is
                                    Plan.read                  under way, and of these what `Statement.rows_only` or
                                                               the boundary of a transaction is; else the bytes go
                                                               to the inbox.
    requests.Request.reply          forms.reply_around         The frames around a kept answer, in the order of
                                                               the client's messages.
    requests.Request.rebound        rewrite.Rewriter           Bind with the server's name, where no Parse is
                                                               needed.
    sending.send_simple             Sender.send_query          A statement that makes a transaction real goes the
    sending.send_extended           ExtendedSender.send        long way; so does one that the server has not
                                                               prepared, or only as it was with other tables.
    whole_replies.find_reply_end    ReplyQueue._walk           A reply with a frame more, less or other than the
                                                               form says, or another transaction status, is walked.
    completion.complete             TurnCompletion.turn_over   A plain statement that went well changes no state
                                                               of the session, so there are only counts and hooks.

tests/session/fast_path plays every request both ways, whole and in pieces, and compares what the client, the server,
the plugins and the counts have seen: `test_recognition` the requests, `test_whole_replies` the replies, `test_behind`
those behind a request of PgBeam's own. The witness plugin's `SHOW pgbeam.short_turns` tells the differential tests
that the short way was taken.
"""
