"""Encrypted connections: a certificate for the proxies, and quiet clients."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pgbeam_core.embedded.postgres import HOST
from pgbeam_core.wire.startup import SSLRequest

DAY = timedelta(days=1)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that vouches for itself, and its key (P-256, as Let's Encrypt's are)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(datetime.now(UTC) - DAY).not_valid_after(datetime.now(UTC) + DAY)
    cert, secret = folder / "server.crt", folder / "server.key"
    cert.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert, secret


@contextmanager
def quiet_clients(port: int, count: int, packets: tuple[bytes, ...], timeout_s: float) -> Iterator[None]:
    """So many, one after the other, each having sent the packets and waited for ReadyForQuery after each. OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opened: list[ssl.SSLSocket] = []
    try:
        for _ in range(count):
            plain = socket.create_connection((HOST, port), timeout_s)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as libpq
            try:
                plain.sendall(SSLRequest().to_bytes())
                if plain.recv(1) != b"S":
                    raise ConnectionError("it does not speak TLS")
                opened.append(context.wrap_socket(plain))
            except BaseException:
                plain.close()
                raise
            for packet in packets:
                opened[-1].sendall(packet)
                _until_ready(opened[-1].recv)
        yield
    finally:
        for client in opened:
            client.close()


def _until_ready(receive: Callable[[int], bytes]) -> None:
    said = b""
    while not said.endswith(b"Z\0\0\0\5I"):
        piece = receive(65536)
        said += piece
        if not piece or said[:1] == b"E":
            raise ConnectionError(said.replace(b"\0", b" ").decode("utf-8", "replace") or "it hung up")
