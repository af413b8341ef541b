"""Twisted protocols: what joins conversations to sockets.

client      a connection from an application
server      a connection to PostgreSQL
login       a client's authentication, relayed to a fresh server
opening     opens servers
cancel      cancel requests, both ways
transport   listeners and connectors
"""
