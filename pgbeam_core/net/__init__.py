"""Twisted protocols: what joins conversations to sockets.

client      a connection from an application
server      a connection to PostgreSQL
auth        who a client is, and how PgBeam logs in to servers
opening     opens servers
cancel      cancel requests, both ways
transport   listeners and connectors
"""
