#!/usr/bin/env python3
"""Recomputes every vector of this folder from its inputs, with the standard library alone.

Nothing here is shared with the Rust crates: AES, GCM, X25519, Ed25519, ristretto255, the OPRF and HPKE are written out
from FIPS 197, SP 800-38D, RFC 7748, RFC 8032, RFC 9496, RFC 9497 and RFC 9180. Slow and not constant-time: for checking
public values only.

    python3 tests/vectors/check.py            exit 0 when every value agrees, 1 with the first difference otherwise
    python3 tests/vectors/check.py --mutate   also alters every value in turn and requires that the check then fails
"""

import copy
import hashlib
import hmac as hmac_module
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
unhex = bytes.fromhex


def label(name):
    return b"linkage/block-scoped/1/" + name.encode()


def sha256(data):
    return hashlib.sha256(data).digest()


def sha512(data):
    return hashlib.sha512(data).digest()


def hmac256(key, message):
    return hmac_module.new(key, message, hashlib.sha256).digest()


def hkdf_expand(prk, info, length):
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac256(prk, block + info + bytes([counter]))
        out, counter = out + block, counter + 1
    return out[:length]


def hkdf(salt, ikm, info, length=32):
    return hkdf_expand(hmac256(salt, ikm), info, length)


# --- AES (FIPS 197) and GCM (SP 800-38D) ---------------------------------------------------------------------------


def gf8(a, b):
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def make_sbox():
    box = []
    for value in range(256):
        inverse = next((i for i in range(256) if gf8(value, i) == 1), 0)
        out = 0x63
        for turn in range(5):
            out ^= ((inverse << turn) | (inverse >> (8 - turn))) & 0xFF
        box.append(out)
    return box


SBOX = make_sbox()
TIMES2 = [gf8(i, 2) for i in range(256)]


def aes_schedule(key):
    words = [list(key[i : i + 4]) for i in range(0, len(key), 4)]
    nk, round_constant = len(words), 1
    while len(words) < 4 * (nk + 7):
        word = list(words[-1])
        if len(words) % nk == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= round_constant
            round_constant = gf8(round_constant, 2)
        elif nk > 6 and len(words) % nk == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[-nk], word)])
    return [sum(words[i : i + 4], []) for i in range(0, len(words), 4)]


def aes(key, block):
    keys = aes_schedule(key)
    state = [a ^ b for a, b in zip(block, keys[0])]
    for turn, round_key in enumerate(keys[1:], 1):
        state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if turn < len(keys) - 1:
            mixed = []
            for c in range(0, 16, 4):
                column = state[c : c + 4]
                total = column[0] ^ column[1] ^ column[2] ^ column[3]
                mixed += [column[i] ^ total ^ TIMES2[column[i] ^ column[(i + 1) % 4]] for i in range(4)]
            state = mixed
        state = [a ^ b for a, b in zip(state, round_key)]
    return bytes(state)


def gcm_open(key, nonce, aad, sealed):
    ciphertext, tag = sealed[:-16], sealed[-16:]
    h = int.from_bytes(aes(key, bytes(16)), "big")

    def pad(data):
        return data + bytes(-len(data) % 16)

    hashed = 0
    lengths = (8 * len(aad)).to_bytes(8, "big") + (8 * len(ciphertext)).to_bytes(8, "big")
    blocks = pad(aad) + pad(ciphertext) + lengths
    for at in range(0, len(blocks), 16):
        x, z, v = hashed ^ int.from_bytes(blocks[at : at + 16], "big"), 0, h
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                z ^= v
            v = (v >> 1) ^ (0xE1 << 120 if v & 1 else 0)
        hashed = z
    expected = bytes(a ^ b for a, b in zip(hashed.to_bytes(16, "big"), aes(key, nonce + bytes([0, 0, 0, 1]))))
    assert tag == expected, "GCM tag"
    stream = b"".join(aes(key, nonce + (2 + i).to_bytes(4, "big")) for i in range(len(ciphertext) // 16 + 1))
    return bytes(a ^ b for a, b in zip(ciphertext, stream))


# --- edwards25519 and ristretto255 (RFC 8032, RFC 9496) ------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
SQRT_AD_MINUS_ONE = 25063068953384623474111414158702152701244531502492656460079210482610430750235
assert SQRT_AD_MINUS_ONE**2 % P == (-D - 1) % P
IDENTITY = (0, 1, 1, 0)


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def mul(scalar, point):
    out = IDENTITY
    for bit in bin(scalar)[2:]:
        out = add(out, out)
        if bit == "1":
            out = add(out, point)
    return out


def neg(x):
    return x % P & 1


def absolute(x):
    return P - x % P if neg(x) else x % P


def sqrt_ratio(u, v):
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    correct, flipped, flipped_i = check == u % P, check == -u % P, check == -u * SQRT_M1 % P
    if flipped or flipped_i:
        r = r * SQRT_M1 % P
    return correct or flipped, absolute(r)


INVSQRT_A_MINUS_D = sqrt_ratio(1, -1 - D)[1]


def decode(data):
    s = int.from_bytes(data, "little")
    if s >= P or neg(s):
        return None
    u1, u2 = (1 - s * s) % P, (1 + s * s) % P
    v = (-D * u1 * u1 - u2 * u2) % P
    was_square, invsqrt = sqrt_ratio(1, v * u2 * u2 % P)
    den_x = invsqrt * u2 % P
    den_y = invsqrt * den_x * v % P
    x, y = absolute(2 * s * den_x), u1 * den_y % P
    t = x * y % P
    return None if not was_square or neg(t) or y == 0 else (x, y, 1, t)


def encode(point):
    x0, y0, z0, t0 = point
    u1, u2 = (z0 + y0) * (z0 - y0) % P, x0 * y0 % P
    invsqrt = sqrt_ratio(1, u1 * u2 * u2 % P)[1]
    den1, den2 = invsqrt * u1 % P, invsqrt * u2 % P
    z_inv = den1 * den2 * t0 % P
    if neg(t0 * z_inv):
        x, y, den_inv = y0 * SQRT_M1 % P, x0 * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
    else:
        x, y, den_inv = x0, y0, den2
    if neg(x * z_inv):
        y = -y % P
    return absolute(den_inv * (z0 - y)).to_bytes(32, "little")


def elligator(t):
    r = SQRT_M1 * t * t % P
    u, v = (r + 1) * (1 - D * D) % P, (-1 - r * D) * (r + D) % P
    was_square, s = sqrt_ratio(u, v)
    if not was_square:
        s = -absolute(s * t) % P
    n = ((-1 if was_square else r) * (r - 1) * (D - 1) ** 2 - v) % P
    w0, w1, w2, w3 = 2 * s * v % P, n * SQRT_AD_MINUS_ONE % P, (1 - s * s) % P, (1 + s * s) % P
    return (w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P)


def one_way_map(uniform):
    low, high = (int.from_bytes(half, "little") % 2**255 for half in (uniform[:32], uniform[32:]))
    return add(elligator(low % P), elligator(high % P))


def ed25519_base():
    y = 4 * pow(5, -1, P) % P
    x = sqrt_ratio(y * y - 1, D * y * y + 1)[1]
    return (x, y, 1, x * y % P)


BASE = ed25519_base()


def ed25519_encode(point):
    z = pow(point[2], -1, P)
    x, y = point[0] * z % P, point[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def ed25519_sign(seed, message):
    digest = sha512(seed)
    a = int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254
    public = ed25519_encode(mul(a, BASE))
    r = int.from_bytes(sha512(digest[32:] + message), "little") % L
    commitment = ed25519_encode(mul(r, BASE))
    k = int.from_bytes(sha512(commitment + public + message), "little") % L
    return public, commitment + ((r + k * a) % L).to_bytes(32, "little")


def ed25519_verifies(public, message, signature):
    y = int.from_bytes(public, "little") % 2**255
    square, x = sqrt_ratio(y * y - 1, D * y * y + 1)
    if not square:
        return False
    if x & 1 != public[31] >> 7:
        x = -x % P
    s = int.from_bytes(signature[32:], "little")
    k = int.from_bytes(sha512(signature[:32] + public + message), "little") % L
    # R = s B + k (-A)
    return s < L and ed25519_encode(add(mul(s, BASE), mul(k, (-x % P, y, 1, -x * y % P)))) == signature[:32]


# --- OPRF (RFC 9497) -----------------------------------------------------------------------------------------------


def expand_xmd(message, dst):
    if len(dst) > 255:
        dst = sha512(b"H2C-OVERSIZE-DST-" + dst)
    dst_prime = dst + bytes([len(dst)])
    b0 = sha512(bytes(128) + message + bytes([0, 64, 0]) + dst_prime)
    return sha512(b0 + bytes([1]) + dst_prime)


def scalar(data):
    value = int.from_bytes(data, "little")
    assert value < L, "scalar"
    return value


def two(length):
    return length.to_bytes(2, "big")


class Oprf:
    def __init__(self, mode):
        self.context = b"OPRFV1-" + bytes([mode]) + b"-ristretto255-SHA512"

    def to_group(self, data):
        return one_way_map(expand_xmd(data, b"HashToGroup-" + self.context))

    def to_scalar(self, data, prefix=b"HashToScalar-"):
        return int.from_bytes(expand_xmd(data, prefix + self.context), "little") % L

    def derive_key(self, seed, info):
        return self.to_scalar(seed + two(len(info)) + info + bytes([0]), b"DeriveKeyPair")

    def weights(self, public, c, d):
        dst = b"Seed-" + self.context
        seed = sha512(two(32) + public + two(len(dst)) + dst)
        pairs = enumerate(zip(c, d))
        return [
            self.to_scalar(two(64) + seed + two(i) + two(32) + ci + two(32) + di + b"Composite") for i, (ci, di) in pairs
        ]

    def challenge(self, *parts):
        return self.to_scalar(b"".join(two(32) + part for part in parts) + b"Challenge")

    def composite(self, weights, elements):
        out = IDENTITY
        for weight, element in zip(weights, elements):
            out = add(out, mul(weight, decode(element)))
        return out

    def prove(self, key, public, c, d, r):
        m = self.composite(self.weights(public, c, d), c)
        points = (m, mul(key, m), mul(r, BASE), mul(r, m))
        challenge = self.challenge(public, *map(encode, points))
        return challenge.to_bytes(32, "little") + ((r - challenge * key) % L).to_bytes(32, "little")

    def verify(self, public, c, d, proof):
        """By both composites, as a client does it, without the key."""
        challenge, s = scalar(proof[:32]), scalar(proof[32:])
        weights = self.weights(public, c, d)
        m, z = self.composite(weights, c), self.composite(weights, d)
        t2 = add(mul(s, BASE), mul(challenge, decode(public)))
        t3 = add(mul(s, m), mul(challenge, z))
        return self.challenge(public, *map(encode, (m, z, t2, t3))) == challenge

    def finalize(self, data, blind, evaluated):
        element = encode(mul(pow(blind, -1, L), decode(evaluated)))
        return sha512(two(len(data)) + data + two(32) + element + b"Finalize")


# --- X25519 (RFC 7748) and HPKE base mode (RFC 9180) ---------------------------------------------------------------


def x25519(key, u):
    k = int.from_bytes(key, "little") & (2**254 - 8) | 2**254
    x1 = int.from_bytes(u, "little") % 2**255 % P
    x2, z2, x3, z3 = 1, 0, x1, 1
    for bit in bin(k)[2:]:
        if bit == "1":
            x2, x3, z2, z3 = x3, x2, z3, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb = d * a % P, c * b % P
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        aa, bb = a * a % P, b * b % P
        e = aa - bb
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
        if bit == "1":
            x2, x3, z2, z3 = x3, x2, z3, z2
    return (x2 * pow(z2, -1, P) % P).to_bytes(32, "little")


def hpke_open(private, info, aad, sealed):
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"

    def extract(suite_id, salt, name, ikm):
        return hmac256(salt or bytes(32), b"HPKE-v1" + suite_id + name + ikm)

    def expand(suite_id, prk, name, data, length):
        return hkdf_expand(prk, two(length) + b"HPKE-v1" + suite_id + name + data, length)

    encapsulated, ciphertext = sealed[:32], sealed[32:]
    public = x25519(private, (9).to_bytes(32, "little"))
    prk = extract(kem, b"", b"eae_prk", x25519(private, encapsulated))
    shared = expand(kem, prk, b"shared_secret", encapsulated + public, 32)
    context = bytes([0]) + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    secret = extract(suite, shared, b"secret", b"")
    key, nonce = expand(suite, secret, b"key", context, 32), expand(suite, secret, b"base_nonce", context, 12)
    return gcm_open(key, nonce, aad, ciphertext)


# --- the profile ---------------------------------------------------------------------------------------------------


def u16s(block):
    return [int.from_bytes(block[i : i + 2], "little") for i in range(0, 16, 2)]


def gram_positions(key, domain, gram, bits, hash_count):
    data = gram.encode()
    assert len(data) <= 13 and bits in (64, 128, 256, 512) and 1 <= hash_count <= 8
    return [word % bits for word in u16s(aes(key, (bytes([1, domain, len(data)]) + data).ljust(16, b"\0")))][:hash_count]


def bits_to_bytes(positions, bits):
    return sum(1 << position for position in set(positions)).to_bytes(bits // 8, "little")


def slot(key, domain, value):
    return u16s(aes(key, (bytes([2, domain]) + value.to_bytes(8, "little")).ljust(16, b"\0")))[0] or 1


def text_value(text):
    return int.from_bytes(sha256(text.encode())[:8], "little")


def permute(key, data):
    bits = [data[p // 8] >> (p % 8) & 1 for p in range(8 * len(data))]
    mask, counter, distance = [], 0, len(bits) // 2
    while distance:
        for i in range(len(bits)):
            if not i & distance:
                if not mask:
                    block = aes(key, (bytes([3]) + counter.to_bytes(4, "little")).ljust(16, b"\0"))
                    mask, counter = [block[p // 8] >> (p % 8) & 1 for p in range(128)], counter + 1
                if mask.pop(0):
                    bits[i], bits[i + distance] = bits[i + distance], bits[i]
        distance //= 2
    return bits_to_bytes([p for p, bit in enumerate(bits) if bit], len(bits))


def remap(key, index, value):
    if value == 0:
        return 0
    return u16s(aes(key, (bytes([4, index]) + value.to_bytes(2, "little")).ljust(16, b"\0")))[0] or 1


def same(found, expected, what):
    if isinstance(found, bytes):
        found = found.hex()
    assert found == expected, f"{what}: computed {found}, file has {expected}"


# --- the sections of the project's file -----------------------------------------------------------------------------


def check_oprf(v):
    oprf, key = Oprf(1), scalar(unhex(v["key"]))
    public = encode(mul(key, BASE))
    same(public, v["public_key"], "public key")
    blinds = [scalar(unhex(b)) for b in v["blinds"]]
    assert len({len(v[name]) for name in ("inputs", "blinds", "blinded", "evaluated", "outputs")}) == 1, "counts"
    for i, data in enumerate(map(unhex, v["inputs"])):
        same(encode(mul(blinds[i], oprf.to_group(data))), v["blinded"][i], "blinded")
        same(encode(mul(key, decode(unhex(v["blinded"][i])))), v["evaluated"][i], "evaluated")
        same(oprf.finalize(data, blinds[i], unhex(v["evaluated"][i])), v["outputs"][i], "output")
    c, d = [unhex(x) for x in v["blinded"]], [unhex(x) for x in v["evaluated"]]
    same(oprf.prove(key, public, c, d, scalar(unhex(v["proof_random_scalar"]))), v["proof"], "proof")
    assert oprf.verify(public, c, d, unhex(v["proof"])), "proof does not verify"


def check_block_secrets(v):
    for case in v["from_oprf"]:
        same(hmac256(unhex(case["oprf_output"]), label("block")), case["x"], "x")
    for case in v["shared"]:
        same(hmac256(unhex(case["shared_key"]), label("block-shared") + b"\0" + unhex(case["input"])), case["x"], "x")


def check_group_key(v):
    parts = sorted((c["party"].encode(), unhex(c["contribution"])) for c in v["contributions"])
    ikm = b"".join(bytes([len(party)]) + party + contribution for party, contribution in parts)
    key = hkdf(unhex(v["agreement_hash"]), ikm, label("group"))
    same(key, v["group_key"], "group key")
    digits = "%024d" % (int.from_bytes(sha256(label("fingerprint") + b"\0" + key)[:10], "big") % 10**24)
    same(" ".join(digits[i : i + 4] for i in range(0, 24, 4)), v["fingerprint"], "fingerprint")


def check_run_keys(v):
    for case in v:
        info = label("run") + b"\0" + case["run_id"].encode()
        same(hkdf(unhex(case["agreement_hash"]), unhex(case["group_key"]), info), case["run_key"], "run key")


def check_field_keys(v):
    for case in v:
        same(hmac256(unhex(case["x"]), label("field filters"))[:16], case["key"], "field key")


def check_grams(v):
    for case in v:
        args = (unhex(case["key"]), case["domain"], case["gram"], case["filter_bits"], case["hash_count"])
        same(gram_positions(*args), case["positions"], "positions")
        same(bits_to_bytes(case["positions"], case["filter_bits"]), case["filter"], "filter")


def check_slots(v):
    for case in v:
        if "text" in case:
            same(text_value(case["text"]), case["value"], "value of text")
        same(slot(unhex(case["key"]), case["slot_domain"], case["value"]), case["slot"], "slot")


def check_entries(v):
    for case in v:
        out = hmac256(unhex(case["run_key"]), unhex(case["x"]) + b"\x01")
        same(out[:16], case["token"], "token")
        same(out[16:], case["entry_key"], "entry key")


def check_permutations(v):
    for case in v:
        same(permute(unhex(case["key"]), unhex(case["filter"])), case["permuted"], "permuted filter")


def check_remapped_slots(v):
    for case in v:
        same(remap(unhex(case["key"]), case["index"], case["value"]), case["remapped"], "remapped slot")


def check_payloads(v):
    for case in v:
        key, data, at, step = unhex(case["key"]), unhex(case["payload"]), case["slots_at"], case["filter_bits"] // 8
        assert case["filter_bits"] in (64, 128, 256, 512) and at % step == 0, "filters"
        out = b"".join(permute(key, data[i : i + step]) for i in range(0, at, step))
        for index, i in enumerate(range(at, len(data), 2)):
            out += remap(key, index, int.from_bytes(data[i : i + 2], "little")).to_bytes(2, "little")
        same(out, case["permuted"], "payload")


def check_pseudonyms(v):
    for case in v:
        name = {"person": "pseudonym", "record": "record-pseudonym"}[case["kind"]]
        dst = label(name) + b"-" + case["agreement_id"].encode() + b"-" + case["purpose"].encode()
        point = one_way_map(expand_xmd(unhex(case["id"]), dst))
        p1 = mul(scalar(unhex(case["custodian_scalar"])), point)
        same(encode(p1), case["point"], "point")
        p2 = mul(scalar(unhex(case["analyst_scalar"])), p1)
        same(sha256(label("pseudonym-text") + encode(p2))[:16], case["pseudonym"], "pseudonym")


def check_agreement(v):
    canonical = json.dumps(v["document"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    same(canonical, v["canonical"], "canonical form")
    digest = sha256(b"linkage agreement v1\n" + canonical.encode())
    same(digest, v["hash"], "agreement hash")
    signed = v["signature"]
    message = b"linkage agreement signature v1\n" + digest + signed["party"].encode()
    public, signature = ed25519_sign(unhex(signed["seed"]), message)
    same(public, signed["public_key"], "signing key")
    same(signature, signed["signature"], "signature")


def check_group_envelope(v):
    route = b"\0".join((unhex(v["agreement_hash"]), v["from"].encode(), v["to"].encode()))
    envelope, private = unhex(v["envelope"]), unhex(v["recipient_private_key"])
    sealed, signature = envelope[:-64], envelope[-64:]
    message = label("group-envelope") + b"\0" + route + b"\0" + sealed
    assert ed25519_verifies(unhex(v["sender_public_key"]), message, signature), "envelope's signature"
    same(x25519(private, (9).to_bytes(32, "little")), v["recipient_public_key"], "recipient's key")
    opened = hpke_open(private, label("group-contribution") + b"\0" + route, b"", sealed)
    same(opened, v["contribution"], "contribution")


def check_sealed_attributes(v):
    place = b"\0".join((unhex(v["agreement_hash"]), v["run_id"].encode(), v["party"].encode()))
    info = label("attributes") + b"\0" + place
    opened = hpke_open(unhex(v["recipient_private_key"]), info, unhex(v["handle"]), unhex(v["sealed"]))
    same(opened, v["plaintext"], "attributes")


def check_stored_value(v):
    key, stored, table = unhex(v["key"]), unhex(v["stored"]), v["table"].encode()
    header = b"\x01" + hmac256(key, label("storage-key-check"))[:4]
    same(stored[:5], header.hex(), "header of a stored value")
    aad = header + two(len(table)) + table + unhex(v["row"])
    same(gcm_open(key, stored[5:17], aad, stored[17:]), v["plaintext"], "stored value")


def check_profile(v):
    same(v, "linkage/block-scoped/1", "profile")


PROJECT = {name[6:]: function for name, function in list(globals().items()) if name.startswith("check_")}


# --- the RFCs' files -------------------------------------------------------------------------------------------------


def rfc9497_suite(suite):
    oprf = Oprf(suite["mode"])
    key = oprf.derive_key(unhex(suite["seed"]), unhex(suite["key_info"]))
    same(key.to_bytes(32, "little"), suite["skSm"], "skSm")
    public = encode(mul(key, BASE))
    if suite["mode"] == 1:
        same(public, suite["pkSm"], "pkSm")
    for vector in suite["vectors"]:
        blinds = [scalar(unhex(b)) for b in vector["blind"]]
        for i, data in enumerate(map(unhex, vector["input"])):
            same(encode(mul(blinds[i], oprf.to_group(data))), vector["blinded_element"][i], "BlindedElement")
            evaluated = encode(mul(key, decode(unhex(vector["blinded_element"][i]))))
            same(evaluated, vector["evaluation_element"][i], "EvaluationElement")
            same(oprf.finalize(data, blinds[i], evaluated), vector["output"][i], "Output")
        if suite["mode"] == 1:
            c, d = ([unhex(x) for x in vector[name]] for name in ("blinded_element", "evaluation_element"))
            r = scalar(unhex(vector["proof_random_scalar"]))
            same(oprf.prove(key, public, c, d, r), vector["proof"], "Proof")
            assert oprf.verify(public, c, d, unhex(vector["proof"])), "Proof does not verify"


def rfc9496_file(v):
    for i, encoding in enumerate(v["multiples_of_generator"]):
        same(encode(mul(i, BASE)), encoding, f"{i} times the generator")
        same(encode(decode(unhex(encoding))), encoding, f"{i} times the generator, decoded")
    for reason, encodings in v["invalid_encodings"].items():
        for encoding in encodings:
            assert decode(unhex(encoding)) is None, f"{encoding} decodes, though: {reason}"
    for case in v["one_way_map"]:
        same(encode(one_way_map(sha512(case["sha512_of"].encode()))), case["point"], "one-way map")


def leaves(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path
    else:
        for key, item in items:
            yield from leaves(item, path + (key,))


# An absent slot stays absent under any key and at any index, so that altering those changes nothing.
WITHOUT_EFFECT = {("project remapped_slots", (0, name)) for name in ("index", "key")}


def altered(value, path):
    """A copy in which the value at `path` differs: a number by one, a text by its last character."""
    if not path:
        if isinstance(value, str):
            return value[:-1] + ("1" if value.endswith("0") else "0") if value else "00"
        return value + 1
    out = copy.copy(value)
    out[path[0]] = altered(value[path[0]], path[1:])
    return out


def main():
    project = json.loads((HERE / "linkage-block-scoped-1.json").read_text("utf-8"))
    suites = json.loads((HERE / "rfc9497" / "ristretto255-sha512.json").read_text("utf-8"))["suites"]
    ristretto = json.loads((HERE / "rfc9496" / "ristretto255.json").read_text("utf-8"))
    assert set(project) == set(PROJECT), f"sections: {sorted(set(project) ^ set(PROJECT))}"
    same(aes(bytes(range(16)), unhex("00112233445566778899aabbccddeeff")).hex(), "69c4e0d86a7b0430d8cdb78070b4c55a", "FIPS 197")

    checks = [(f"project {name}", PROJECT[name], project[name]) for name in project]
    checks += [(f"RFC 9497 mode {suite['mode']}", rfc9497_suite, suite) for suite in suites]
    checks.append(("RFC 9496", rfc9496_file, ristretto))
    total = 0
    for name, check, value in checks:
        try:
            check(value)
        except Exception as difference:  # whatever an altered value may set off
            print(f"{name}: {type(difference).__name__}: {difference}")
            return 1
        total += sum(1 for _ in leaves(value))
    print(f"{len(checks)} sections agree, {total} values")

    if "--mutate" in sys.argv[1:]:
        count = 0
        for name, check, value in checks[:-1]:
            for path in leaves(value):
                if (name, path) in WITHOUT_EFFECT:
                    continue
                try:
                    check(altered(value, path))
                except Exception:
                    count += 1
                else:
                    print(f"{name}: altering {path} goes unnoticed")
                    return 1
        print(f"{count} altered values, all noticed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
