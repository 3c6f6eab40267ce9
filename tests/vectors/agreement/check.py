#!/usr/bin/env python3
"""Reproduces the vectors of docs/agreement.md with Python's standard library only (3.11 or later).

Canonical bytes, hash and Ed25519 (RFC 8032, verified as strictly as the roles do) are written here a second time,
from the specification, so that the vectors do not only say what the Rust code says. Slow and not constant-time:
for checking, never for keys that protect anything. Exit code 0 when every vector agrees.
"""

import base64
import datetime
import hashlib
import json
import pathlib
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
HASH_DOMAIN = b"linkage agreement v1\n"
SIGNATURE_DOMAIN = b"linkage agreement signature v1\n"
TERMINATION_DOMAIN = b"linkage agreement termination v1\n"
MAX_INTEGER = 2**53 - 1


# ── Canonical bytes and hash ──────────────────────────────────────────────────────────────────────────────────────


class Refused(ValueError):
    """A value that has no canonical form."""


def model(value):
    """The data model of a TOML value: dates as text, nothing else changed."""
    if isinstance(value, dict):
        return {key: model(value[key]) for key in sorted(value, key=lambda key: key.encode("utf-16-be"))}
    if isinstance(value, list):
        return [model(element) for element in value]
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise Refused("whole number beyond 2^53 - 1")
        return value
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()
    raise Refused(type(value).__name__)


def canonical(toml_text):
    """Canonical bytes. Members are in the order of UTF-16 code units (RFC 8785, 3.2.3), as dictionaries keep it."""
    data = model(tomllib.loads(toml_text.removeprefix("\ufeff").replace("\r\n", "\n")))
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def agreement_hash(canonical_bytes):
    return hashlib.sha256(HASH_DOMAIN + canonical_bytes).digest()


# ── Ed25519, RFC 8032 section 5.1 ─────────────────────────────────────────────────────────────────────────────────

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(p, q):
    """Sum in extended coordinates (section 5.1.4)."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    total = NEUTRAL
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def equal(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def encode(point):
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data):
    """The point, or None for anything but the canonical encoding of one (section 5.1.3)."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x + u) % P == 0:
        x = x * SQRT_M1 % P
    if (v * x * x - u) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def sha512_scalar(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


def expand(seed):
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
    return scalar, digest[32:], encode(multiply(scalar, BASE))


def public_key(seed):
    return expand(seed)[2]


def sign(seed, message):
    scalar, prefix, public = expand(seed)
    r = sha512_scalar(prefix, message)
    encoded = encode(multiply(r, BASE))
    s = (r + sha512_scalar(encoded, public, message) * scalar) % L
    return encoded + s.to_bytes(32, "little")


def verify(public, message, signature):
    """Strict: canonical encodings, no point of small order, S below the order, no cofactor."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r, s = decode(public), decode(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    if equal(multiply(8, a), NEUTRAL) or equal(multiply(8, r), NEUTRAL):
        return False
    k = sha512_scalar(signature[:32], public, message)
    return equal(multiply(s, BASE), add(r, multiply(k, a)))


# ── What is signed ────────────────────────────────────────────────────────────────────────────────────────────────


def signature_message(hash_bytes, party):
    return SIGNATURE_DOMAIN + hash_bytes + party.encode()


def termination_message(hash_bytes, effective_on, party):
    return TERMINATION_DOMAIN + hash_bytes + effective_on.encode() + party.encode()


# ── The vectors ───────────────────────────────────────────────────────────────────────────────────────────────────


def text_of(name):
    return (HERE / name).read_bytes().decode()


def main():
    vectors = json.loads(text_of("vectors.json"))
    wrong, done = [], 0

    def expect(what, found, expected):
        nonlocal done
        done += 1
        if found != expected:
            wrong.append(f"{what}: found {found!r}, expected {expected!r}")

    # RFC 8032 section 7.1, test 2: this Ed25519 is the RFC's.
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    expect("RFC 8032 key", public_key(seed).hex(), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    expect(
        "RFC 8032 signature",
        sign(seed, b"\x72").hex(),
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    )

    for case in vectors["canonical"]:
        try:
            expect(case["toml"], canonical(case["toml"]).decode(), case.get("canonical"))
        except Refused:
            expect(case["toml"], "refused", case.get("refused") and "refused")
    for case in vectors["agreements"]:
        data = canonical(text_of(case["file"]))
        expect(case["file"] + " canonical", hashlib.sha256(data).hexdigest(), case["canonical_sha256"])
        expect(case["file"] + " hash", agreement_hash(data).hex(), case["hash"])
    expect("convention.canonical.json", canonical(text_of("convention.toml")), text_of("convention.canonical.json").encode())

    keys = {}
    for key in vectors["keys"]:
        seed, keys[key["party"]] = bytes.fromhex(key["seed"]), base64.b64decode(key["public_key"])
        expect("key of " + key["party"], public_key(seed), keys[key["party"]])
    seeds = {key["party"]: bytes.fromhex(key["seed"]) for key in vectors["keys"]}
    for case in vectors["signatures"]:
        message = signature_message(bytes.fromhex(case["agreement_hash"]), case["party"])
        public = base64.b64decode(case["public_key"]) if "public_key" in case else keys[case["party"]]
        signature = base64.b64decode(case["signature"])
        expect(case["what"] + " message", hashlib.sha256(message).hexdigest(), case["message_sha256"])
        expect(case["what"], verify(public, message, signature), case["valid"])
        if case["valid"]:
            expect(case["what"] + " signed again", sign(seeds[case["party"]], message), signature)

    agreed = bytes.fromhex(vectors["agreements"][0]["hash"])
    for entry in tomllib.loads(text_of("convention.signatures.toml"))["signature"]:
        message = signature_message(agreed, entry["party"])
        expect("signatures file, hash", bytes.fromhex(entry["agreement_hash"]), agreed)
        expect("signatures file, " + entry["party"], verify(keys[entry["party"]], message, base64.b64decode(entry["signature"])), True)
    notice = tomllib.loads(text_of("denonciation.toml"))["termination"]
    message = termination_message(agreed, notice["effective_on"], notice["party"])
    expect("termination", verify(keys[notice["party"]], message, base64.b64decode(notice["signature"])), True)
    message = termination_message(agreed, "2024-06-30", notice["party"])
    expect("termination, another day", verify(keys[notice["party"]], message, base64.b64decode(notice["signature"])), False)

    for line in wrong:
        print("WRONG", line)
    print(f"{done - len(wrong)} of {done} vectors agree")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
