"""Own an authority that signs certificates for tests, by the system's openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
_DAYS = ["-days", "2"]


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, in files that the account of the servers can read."""

    file: Path
    key: Path

    @property
    def of_a_server(self) -> dict[str, Any]:
        """What a nats-server's configuration says of it."""
        return {"cert_file": str(self.file), "key_file": str(self.key)}


class Authority:
    """An authority of that name; its files lie in `folder`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f"{name}.pem"
        self._folder = folder
        self._name = name
        made = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        self._run("req", "-x509", *_KEY, *_DAYS, *made)

    def sign(self, name: str, *, names: str = "DNS:localhost,IP:127.0.0.1") -> Certificate:
        """Return a new certificate for whoever has these names."""
        signed = Certificate(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        self._run("req", *_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (self._folder / "names").write_text(f"subjectAltName={names}")
        by = ["-CA", f"{self._name}.pem", "-CAkey", f"{self._name}.key", "-CAcreateserial", "-extfile", "names"]
        self._run("x509", "-req", "-in", f"{name}.csr", *by, *_DAYS, "-out", f"{name}.crt")
        signed.key.chmod(0o644)
        return signed

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)
