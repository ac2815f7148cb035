"""A certificate for a test's own server: one file with the key and the certificate, which vouches for itself."""

from __future__ import annotations

import subprocess
from pathlib import Path


def made(folder: Path, *subjects: str) -> Path:
    """Subjects as OpenSSL writes them: `DNS:localhost`, `IP:127.0.0.1`."""
    run = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=celeriac"]
    run += ["-addext", f"subjectAltName={','.join(subjects)}", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(run, cwd=folder, check=True, capture_output=True)
    path = folder / "server.pem"
    path.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return path
