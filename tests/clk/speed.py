"""anonlink and `linkage clk` in turn on the same filters and one core (best of three), and whether they find the same pairs.

    cargo build --release -p linkage-clk --example compare_speed
    venv/bin/python tests/clk/speed.py target/release/examples/compare_speed [COUNT] [BITS] [THRESHOLD]
"""
import base64
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from anonlink.candidate_generation import find_candidate_pairs
from anonlink.similarities import dice_coefficient_accelerated
from bitarray import bitarray

# In turn, best of each: others may be using the machine.
ROUNDS = 3
binary = sys.argv[1]
count, bits, threshold = (sys.argv[2:] + ["20000", "1024", "0.8"][len(sys.argv) - 2:])[:3]


def filters(path):
    made = []
    for text in json.loads(path.read_text())["clks"]:
        ba = bitarray()
        ba.frombytes(base64.b64decode(text))
        made.append(ba)
    return made


with tempfile.TemporaryDirectory() as folder:
    a, b = Path(folder, "a.json"), Path(folder, "b.json")
    subprocess.run([binary, "make", bits, count, a, b], check=True)
    sides = filters(a), filters(b)
    seconds = float("inf")
    best = {}
    for _ in range(ROUNDS):
        start = time.perf_counter()
        scores, _, _ = find_candidate_pairs(sides, dice_coefficient_accelerated, float(threshold))
        seconds = min(seconds, time.perf_counter() - start)
        ours = subprocess.run([binary, a, b, threshold], check=True, capture_output=True, text=True).stdout
        for line in ours.splitlines()[1:]:
            kernel, _, took, speed, found = line.split()
            best[kernel] = min(best.get(kernel, (float("inf"),)), (float(took), float(speed), int(found)))
    base = int(count) ** 2 / seconds / 1e6
    print(f"anonlink: {seconds:.3f} s, {base:.0f} M pairs/s, {len(scores)} pairs")
    for kernel, (took, speed, found) in best.items():
        same = "same number of pairs" if found == len(scores) else "OTHER PAIRS"
        print(f"{kernel}: {took:.3f} s, {speed:.0f} M pairs/s, {speed / base:.1f} x anonlink, {same}")
