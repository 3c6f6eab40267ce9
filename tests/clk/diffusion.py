"""The diffusion layer of linkage-core/clk/src/diffusion.rs by its definition, with the standard library alone.

    python3 tests/clk/diffusion.py > tests/clk/diffusion.json     writes the known answers
    python3 tests/clk/diffusion.py --check                        exit 1 when the file holds others
"""
import hashlib
import hmac
import json
import pathlib
import random
import struct
import sys


def draws(key, bits, t):
    """32-bit numbers, eight from each HMAC."""
    counter = 0
    while True:
        message = b"linkage/clk/1/diffusion\0" + struct.pack("<IHI", bits, t, counter)
        yield from struct.unpack("<8I", hmac.new(key, message, hashlib.sha256).digest())
        counter += 1


def below(stream, n):
    """Draws beyond the last multiple of n are dropped."""
    return next(v for v in stream if v < 2**32 - 2**32 % n) % n


def layer(key, bits, t):
    """For each output bit, the t positions that it is the XOR of."""
    stream, deck, rows = draws(key, bits, t), [], []
    for _ in range(bits):
        row = []
        while len(row) < t:
            left = [position for position in deck if position not in row]
            if left:
                deck.remove(left[0])
                row.append(left[0])
            else:
                deck = list(range(bits))
                for last in range(bits - 1, 0, -1):
                    other = below(stream, last + 1)
                    deck[last], deck[other] = deck[other], deck[last]
        rows.append(row)
    return rows


def diffuse(key, t, filter):
    """Bit p of a filter is byte p // 8, bit p % 8 from the lowest."""
    value, bits = int.from_bytes(filter, "little"), 8 * len(filter)
    out = 0
    for bit, row in enumerate(layer(key, bits, t)):
        out |= (sum(value >> position & 1 for position in row) & 1) << bit
    return out.to_bytes(len(filter), "little")


def cases():
    draw = random.Random(4)
    for bits, t in [(1024, 8), (1024, 17), (1000, 12), (64, 32), (16, 8)]:
        key = draw.randbytes(32)
        filter = bytes(a & b for a, b in zip(draw.randbytes(bits // 8), draw.randbytes(bits // 8)))
        yield {"key": key.hex(), "bits": bits, "t": t, "filter": filter.hex(), "diffused": diffuse(key, t, filter).hex()}


def main():
    if sys.argv[1:] == ["--check"]:
        held = json.loads(pathlib.Path(__file__).with_name("diffusion.json").read_text())
        if held != list(cases()):
            sys.exit("diffusion.json does not follow the definition")
    else:
        print(json.dumps(list(cases()), indent=1))


if __name__ == "__main__":
    main()
