"""An S3-compatible server of the test's own (moto), over TLS, with one bucket; tests/run.sh installs it."""

import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

import helm

LIBRARIES = pathlib.Path(os.environ.get("LINKAGE_OBJECT_SERVER", helm.ROOT / "target" / "tools" / "objects"))
# tests/run.sh says where it could not install it, and never in CI.
FOUND = not os.environ.get("LINKAGE_NO_OBJECTS")
BUCKET = "courtier"
# What the server lets anybody in with; it does not look at it.
KEYS = {"access-key": b"essai\n", "secret-key": b"essai-essai\n"}


def free_port():
    """Below the ports that the system gives to connections: none takes it before the server listens."""
    for offset in range(8_000):
        with socket.socket() as free:
            port = 12_000 + (os.getpid() * 97 + offset) % 8_000
            try:
                free.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no port is free")


class Server:
    def __init__(self, folder, certificate, key, authority):
        """Starts it with a certificate for localhost of that authority (files)."""
        port = free_port()
        self.endpoint = f"https://localhost:{port}"
        self.context = ssl.create_default_context(cafile=authority)
        self.path = pathlib.Path(folder) / "objets.log"
        self.log = open(self.path, "ab")
        line = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), "-c", str(certificate), "-k", str(key)]
        environment = os.environ | {"PYTHONPATH": str(LIBRARIES)}
        self.process = subprocess.Popen(line, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.monotonic() + 60
        while not self.makes_bucket():
            assert time.monotonic() < end and self.process.poll() is None, self.path.read_text()
            time.sleep(0.1)

    def makes_bucket(self):
        request = urllib.request.Request(f"{self.endpoint}/{BUCKET}", method="PUT", data=b"")
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def asked(self, method):
        """Paths that were asked for with that method and answered, under the bucket."""
        return re.findall(rf'"{method} /{BUCKET}/(\S*) HTTP/[0-9.]+" 20\d', self.path.read_text())

    def held(self):
        """The bucket's listing, as the server gives it."""
        with urllib.request.urlopen(f"{self.endpoint}/{BUCKET}?list-type=2", context=self.context, timeout=10) as answer:
            return re.findall(r"<Key>([^<]*)</Key>", answer.read().decode())

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.log.close()
