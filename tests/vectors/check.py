#!/usr/bin/env python3
"""Recomputes every vector of this folder from its inputs, with the standard library alone.

Nothing here is shared with the Rust crates: AES, GCM, X25519, Ed25519, ristretto255, the OPRF and HPKE are written out
beside it, in primitives.py.

    python3 tests/vectors/check.py            exit 0 when every value agrees, 1 with the first difference otherwise
    python3 tests/vectors/check.py --mutate   also alters every value in turn and requires that the check then fails
"""

import copy
import itertools
import json
import pathlib
import re
import sys
import unicodedata

sys.dont_write_bytecode = True  # leaves no cache in the source tree

from primitives import (  # noqa: E402
    BASE,
    Oprf,
    aes,
    decode,
    ed25519_sign,
    ed25519_verifies,
    encode,
    expand_xmd,
    gcm_open,
    hkdf,
    hmac256,
    hpke_open,
    mul,
    one_way_map,
    scalar,
    sha256,
    sha512,
    two,
    unhex,
    x25519,
)

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "clk"))

from diffusion import diffuse  # noqa: E402


def label(name):
    return b"linkage/block-scoped/1/" + name.encode()


# --- the profile ---------------------------------------------------------------------------------------------------


def u16s(block):
    return [int.from_bytes(block[i : i + 2], "little") for i in range(0, 16, 2)]


def gram_positions(key, domain, gram, bits, hash_count):
    data = gram.encode()
    assert len(data) <= 13 and bits in (64, 128, 256, 512) and 1 <= hash_count <= 8
    return [word % bits for word in u16s(aes(key, (bytes([1, domain, len(data)]) + data).ljust(16, b"\0")))][:hash_count]


def bits_to_bytes(positions, bits):
    return sum(1 << position for position in set(positions)).to_bytes(bits // 8, "little")


CLASS_BOUNDS = [4, 6, 8, 10, 13, 17, 22, 28, 36]


def class_weight(bits, hash_count, bound):
    empty = bits << 32
    for _ in range(bound * hash_count):
        empty -= empty // bits
    return bits - ((empty + (1 << 31)) >> 32)


def level(key, grams, hash_count, data):
    bits = 8 * len(data)
    assert bits in (64, 128, 256, 512) and 1 <= hash_count <= 8
    if grams == 0:
        return data
    weight = class_weight(bits, hash_count, next((bound for bound in CLASS_BOUNDS if grams <= bound), CLASS_BOUNDS[-1]))
    folded = bytearray(14)
    for i, byte in enumerate(data):
        folded[i % 14] ^= byte
    ones = {p for p in range(bits) if data[p // 8] >> (p % 8) & 1}
    setting = len(ones) < weight
    drawn = (word % bits for counter in range(256) for word in u16s(aes(key, bytes([5, counter]) + folded)))
    for position in itertools.chain(drawn, range(bits)):
        if len(ones) == weight:
            break
        (ones.add if setting else ones.discard)(position)
    return bits_to_bytes(ones, bits)


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


def check_levelled(v):
    same(CLASS_BOUNDS, v["class_bounds"], "bounds of the classes")
    for case in v["weights"]:
        for hash_count, weights in enumerate(case["by_hash_count"], 1):
            found = [class_weight(case["filter_bits"], hash_count, bound) for bound in CLASS_BOUNDS]
            same(found, weights, "weights of the classes")
    for case in v["filters"]:
        key, grams, bits, hash_count = unhex(case["key"]), case["grams"], case["filter_bits"], case["hash_count"]
        positions = [gram_positions(key, case["domain"], gram, bits, hash_count) for gram in grams]
        natural = bits_to_bytes(sum(positions, []), bits)
        assert bits == 8 * len(natural), "bits"
        same(natural, case["natural"], "filter of the grams")
        same(level(key, len(set(grams)), hash_count, natural), case["levelled"], "levelled filter")


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


# What is absent, slot or filter, stays absent under any key and anywhere, so that altering those changes nothing.
WITHOUT_EFFECT = {("project remapped_slots", (0, name)) for name in ("index", "key")}
WITHOUT_EFFECT |= {("project levelled", ("filters", 7, name)) for name in ("key", "domain", "hash_count")}


def altered(value, path):
    """A copy in which the value at `path` differs: a number by one, a text by its last character."""
    if not path:
        if isinstance(value, str):
            return value[:-1] + ("1" if value.endswith("0") else "0") if value else "00"
        return value + 1
    out = copy.copy(value)
    out[path[0]] = altered(value[path[0]], path[1:])
    return out


# --- hash keys of today's conventions ---------------------------------------------------------------------------------

# Letters that NFKD leaves whole.
SPECIAL = str.maketrans(
    {"œ": "OE", "Œ": "OE", "æ": "AE", "Æ": "AE", "ß": "SS", "ẞ": "SS", "ø": "O", "Ø": "O", "ł": "L", "Ł": "L", "đ": "D", "Đ": "D"}
    | {"ð": "D", "Ð": "D", "þ": "TH", "Þ": "TH", "ħ": "H", "Ħ": "H", "ŧ": "T", "Ŧ": "T", "ŋ": "N", "Ŋ": "N", "ı": "I"}
    | {"ə": "E", "Ə": "E"}
)


def key_letters(text):
    text = unicodedata.normalize("NFKD", text).translate(SPECIAL)
    return "".join(c.upper() for c in text if c.isascii() and c.isalpha())


def key_date(text):
    """Day, month and year as digits, an unknown part as zeros."""
    numbers = re.findall(r"\d+", text)
    if len(numbers) == 1:
        compact = numbers[0]
        year_first = "1900" <= compact[:4] <= "2030" and int(compact[4:6]) <= 12
        numbers = [compact[:4], compact[4:6], compact[6:]] if year_first else [compact[:2], compact[2:4], compact[4:]]
    if len(numbers[0]) == 4:
        numbers.reverse()
    day, month, year = numbers
    return day.zfill(2), month.zfill(2), year


def hash_key_case(case, run_key):
    """A case with its results, from its inputs."""
    name = key_letters(case["nom_naissance"]) or key_letters(case["nom_usage"])
    given = case["prenoms"]
    given = key_letters(given if case["given_names"] == "all" else (given.split() or [""])[0])
    day, month, year = key_date(case["date_naissance"])
    made = {name: case[name] for name in ("nom_naissance", "nom_usage", "prenoms", "date_naissance", "given_names")}
    made["primary_text"] = name + given + day + month + year if given and day != "00" else ""
    made["secondary_text"] = name + month + year
    for kind in ("primary", "secondary"):
        text = made[f"{kind}_text"].encode()
        label = b"linkage/hash-keys/1/" + kind.encode() + b"\0"
        made[f"{kind}_sha256"] = sha256(text).hex() if text else ""
        made[f"{kind}_hmac"] = hmac256(run_key, label + text).hex() if text else ""
    return made


def check_hash_keys(document):
    run_key = unhex(document["run_key"])
    assert len(run_key) == 32
    for case in document["cases"]:
        same(hash_key_case(case, run_key), case, "hash keys")
    example = document["cases"][0]
    same(example["primary_text"], "DUPONTMARIE01012000", "the conventions' own example")
    same(example["secondary_text"], "DUPONT012000", "the conventions' own example")


# --- annexes: filters and hash keys of parties of other profiles ---------------------------------------------------------


def annex_case(case):
    """A case with its results, from its inputs."""
    run_key, annex, bits, t = unhex(case["run_key"]), unhex(case["annex"]), case["bits"], case["diffusion"]
    assert len(run_key) == 32 and bits % 64 == 0 and len(annex) == bits // 8 + 64 and (t == 0 or t >= 8)
    clk_key = hmac256(run_key, label("clk"))
    filter, keys = annex[: bits // 8], [annex[-64:-32], annex[-32:]]
    if t:
        sent = diffuse(clk_key, t, filter)
    else:
        order = sorted(range(bits), key=lambda bit: aes(clk_key[:16], (b"\5" + bit.to_bytes(2, "little")).ljust(16, b"\0")))
        value = int.from_bytes(filter, "little")
        sent = sum((value >> bit & 1) << rank for rank, bit in enumerate(order)).to_bytes(bits // 8, "little")
    for kind, key in zip((b"primary", b"secondary"), keys):
        sent += hmac256(run_key, b"linkage/hash-keys/1/" + kind + b"\0" + key.hex().encode()) if any(key) else bytes(32)
    return case | {"clk_key": clk_key.hex(), "sent": sent.hex()}


def check_annexes(document):
    assert set(document) == {"cases"}
    for case in document["cases"]:
        same(annex_case(case), case, "annex")


def main():
    project = json.loads((HERE / "linkage-block-scoped-1.json").read_text("utf-8"))
    suites = json.loads((HERE / "rfc9497" / "ristretto255-sha512.json").read_text("utf-8"))["suites"]
    ristretto = json.loads((HERE / "rfc9496" / "ristretto255.json").read_text("utf-8"))
    assert set(project) == set(PROJECT), f"sections: {sorted(set(project) ^ set(PROJECT))}"
    same(aes(bytes(range(16)), unhex("00112233445566778899aabbccddeeff")).hex(), "69c4e0d86a7b0430d8cdb78070b4c55a", "FIPS 197")

    checks = [(f"project {name}", PROJECT[name], project[name]) for name in project]
    checks += [(f"RFC 9497 mode {suite['mode']}", rfc9497_suite, suite) for suite in suites]
    checks.append(("annexes", check_annexes, json.loads((HERE / "annex.json").read_text("utf-8"))))
    # Not every input of a hash key matters (a usage name beside a birth name): these are not altered below.
    unaltered = [
        ("hash keys", check_hash_keys, json.loads((HERE / "hash-keys.json").read_text("utf-8"))),
        ("RFC 9496", rfc9496_file, ristretto),
    ]
    checks += unaltered
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
        for name, check, value in checks[: -len(unaltered)]:
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
