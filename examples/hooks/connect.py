"""Lets in from one network only. Who asks somebody else gives a Deferred."""

from ipaddress import ip_address, ip_network

from pgbeam_core import Refusal, Session, hookimpl

OFFICE = ip_network("192.0.2.0/24")


@hookimpl
def connect(session: Session) -> Refusal | None:
    if session.peer == "unix" or ip_address(session.peer) in OFFICE:
        return None
    return Refusal("28000", f"no one from {session.peer} is let in")
