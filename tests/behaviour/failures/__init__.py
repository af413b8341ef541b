"""Failures: of servers, networks, clients and PgBeam itself; who notices, what is told, what heals."""
