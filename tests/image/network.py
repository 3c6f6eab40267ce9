"""The network of a cluster, as far as a pod sees it: an address of its own, and a name server that knows the Services.

Each pod has a network namespace, joined to one bridge. Names are answered as a cluster's DNS does, over UDP: a Service by its full
name only, so that the program's resolver has to go through the search list; no AAAA record; anything else does not exist. All of it
lies in the namespaces that run.sh has this process in, and is gone with it.
"""

import socket
import struct
import subprocess
import threading

PREFIX = "10.64.0"
GATEWAY = f"{PREFIX}.1"
BRIDGE = "linkage0"
DOMAIN = "svc.cluster.local"
A, NO_SUCH_NAME = 1, 3


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


class Network:
    def __init__(self, namespace):
        self.namespace = namespace
        self.hosts = {}
        self.asked = set()
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("address", "add", f"{GATEWAY}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((GATEWAY, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def join(self, number):
        """The address and the namespace of another pod."""
        name, address = f"pod{number}", f"{PREFIX}.{number}"
        ip("netns", "add", name)
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", name, "master", BRIDGE, "up")
        for words in (["address", "add", f"{address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            ip("-n", name, *words)
        return address, f"/run/netns/{name}"

    def name(self, service, address):
        self.hosts[f"{service}.{self.namespace}.{DOMAIN}"] = address

    def resolver(self):
        """/etc/resolv.conf as a kubelet writes it."""
        return f"search {self.namespace}.{DOMAIN} {DOMAIN} cluster.local\nnameserver {GATEWAY}\noptions ndots:5\n"

    def serve(self):
        while True:
            question, sender = self.socket.recvfrom(512)
            self.socket.sendto(self.answer(question), sender)

    def answer(self, message):
        """One question (RFC 1035, 4.1), answered with one address, with none, or with the name's absence."""
        labels, at = [], 12
        while message[at]:
            labels.append(message[at + 1 : at + 1 + message[at]].decode("ascii"))
            at += 1 + message[at]
        (kind,) = struct.unpack_from(">H", message, at + 1)
        name = ".".join(labels).lower()
        self.asked.add(name)
        address = self.hosts.get(name)
        record = b""
        if address and kind == A:
            # A pointer to the name asked for; A, IN, 30 s.
            record = struct.pack(">HHHIH", 0xC00C, A, 1, 30, 4) + socket.inet_aton(address)
        head = struct.pack(">HHHHH", 0x8580 | (0 if address else NO_SUCH_NAME), 1, len(record) // 16, 0, 0)
        return message[:2] + head + message[12 : at + 5] + record
