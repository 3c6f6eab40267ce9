"""The questions that a kubelet and Prometheus put to a pod, put by themselves: no code of the program's own.

`grpc` is a kubelet's gRPC probe: grpc.health.v1.Health/Check over HTTP/2 without TLS (RFC 9113; headers as literals without Huffman
coding or index, RFC 7541 section 6.2.2).
"""

import contextlib
import http.client
import socket
import struct

SERVING = 1
DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS = 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(text):
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


def header(name, value):
    return b"\0" + literal(name) + literal(value)


def grpc(host, port, service, timeout=5):
    """The status that the health service answers (1: SERVING); None when nothing does."""
    question = b"\x0a" + literal(service) if service else b""
    headers = {":method": "POST", ":scheme": "http", ":path": "/grpc.health.v1.Health/Check", ":authority": f"{host}:{port}"}
    headers |= {"content-type": "application/grpc", "te": "trailers"}
    try:
        with socket.create_connection((host, port), timeout) as connection:
            stream = connection.makefile("rb")
            connection.sendall(
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                + frame(SETTINGS, 0, 0)
                + frame(HEADERS, END_HEADERS, 1, b"".join(header(k, v) for k, v in headers.items()))
                + frame(DATA, END_STREAM, 1, b"\0" + struct.pack(">I", len(question)) + question)
            )
            while True:
                head = stream.read(9)
                if len(head) < 9:
                    return None
                payload = stream.read(int.from_bytes(head[:3], "big"))
                kind, flags = head[3], head[4]
                if kind == SETTINGS and not flags & ACK:
                    connection.sendall(frame(SETTINGS, ACK, 0))
                elif kind == PING and not flags & ACK:
                    connection.sendall(frame(PING, ACK, 0, payload))
                elif kind == DATA and payload:
                    # Five bytes of gRPC, then field 1 of HealthCheckResponse; a status of 0 is left out.
                    return payload[6] if len(payload) > 6 else 0
                elif kind == GOAWAY or flags & END_STREAM and kind == HEADERS:
                    return None
    except OSError:
        return None


def get(host, port, path, timeout=5):
    """(status, text) of an HTTP question; (None, "") when nothing answers."""
    try:
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=timeout)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
    except OSError:
        return None, ""
