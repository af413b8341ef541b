"""Logins: how clients get in, with which words and through which TLS, and how PgBeam gets into servers."""
