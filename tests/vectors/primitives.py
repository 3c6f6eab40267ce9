"""The primitives of check.py, written out from FIPS 197, SP 800-38D, RFC 7748, RFC 8032, RFC 9496, RFC 9497 and RFC 9180.

Slow and not constant-time: for checking public values only.
"""

import hashlib
import hmac as hmac_module

unhex = bytes.fromhex


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
