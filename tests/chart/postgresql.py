"""A PostgreSQL server of the test's own, in a temporary folder; it refuses to run as root, so that it gets an account there."""

import os
import pathlib
import pwd
import shutil
import subprocess
import time

import machine



def programs():
    """The folder of initdb and postgres, the newest that is installed."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    path = str(found[-1]) if found else shutil.which("initdb")
    return pathlib.Path(path).resolve().parent if path else None


def account():
    """An account that has a name, which initdb asks for."""
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise AssertionError("neither postgres nor nobody is an account of this machine")


def as_account():
    if not machine.ROOT:
        return []
    user, group = account()
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


FOUND = programs() is not None and (not machine.ROOT or shutil.which("setpriv") is not None)


class Server:
    def __init__(self, folder):
        self.bin = programs()
        self.address = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}.250"
        folder.mkdir()
        if machine.ROOT:
            os.chown(folder, *account())
        self.call("initdb", "-D", folder / "data", "-U", "linkage", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = {"listen_addresses": self.address, "unix_socket_directories": str(folder), "fsync": "off"}
        line = [*as_account(), str(self.bin / "postgres"), "-D", str(folder / "data"), "-p", "5432"]
        line += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self.log = open(folder.parent / "postgresql.log", "ab")
        self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd="/")
        end = time.monotonic() + 60
        while subprocess.run([self.bin / "pg_isready", "-q", "-h", self.address], cwd="/").returncode:
            assert time.monotonic() < end and self.process.poll() is None, pathlib.Path(self.log.name).read_text()
            time.sleep(0.1)

    def call(self, program, *arguments):
        done = subprocess.run([*as_account(), str(self.bin / program), *map(str, arguments)], capture_output=True, text=True, cwd="/", timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def url(self, name):
        """The address of a database of this name, made when there is none."""
        listed = subprocess.run(
            [self.bin / "psql", "-h", self.address, "-U", "linkage", "-d", "postgres", "-Atc", "SELECT datname FROM pg_database"],
            capture_output=True, text=True, check=True, cwd="/",
        )
        if name not in listed.stdout.split():
            self.call("createdb", "-h", self.address, "-U", "linkage", name)
        return f"postgresql://linkage@{self.address}:5432/{name}"

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.log.close()
