"""What a console answers, word for word, by the simple protocol."""

from __future__ import annotations

from psycopg import pq


def said(url: str, *texts: str) -> list[str]:
    """Of each query its command tags, and its error as severity, SQLSTATE and message."""
    connection = pq.PGconn.connect(url.encode())
    assert connection.status == pq.ConnStatus.OK, connection.error_message.decode()
    found: list[str] = []
    for text in texts:
        connection.send_query(text.encode())
        while (result := connection.get_result()) is not None:
            found.append(_one(result))
    connection.finish()
    return found


def _one(result: pq.abc.PGresult) -> str:
    if result.status != pq.ExecStatus.FATAL_ERROR:
        return (result.command_status or b"").decode()
    fields = pq.DiagnosticField.SEVERITY, pq.DiagnosticField.SQLSTATE, pq.DiagnosticField.MESSAGE_PRIMARY
    return " ".join((result.error_field(field) or b"").decode() for field in fields)
