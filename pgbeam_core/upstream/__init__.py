"""Which of several hosts is the primary: found out, followed when it changes, and fenced when an old one comes back.

The rest of PgBeam knows one target. `members` keeps watch over its hosts, `verdict` judges what they say, `memory`
keeps what must not be forgotten, `opener` opens servers of whichever is the primary now, and waits while there is none.
"""
