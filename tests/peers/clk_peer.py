"""clkhash and anonlink, run by peers.py in a Python environment of their own. Prints one line of JSON.

    clk_peer.py encode SCHEMA CSV SECRET_FILE OUT
    clk_peer.py compare A.json B.json THRESHOLD ROUNDS PAIRS.csv

Only the packages' own work is timed, not the start of Python nor, for comparison, reading: what flatters them.
"""
import base64
import json
import os
import resource
import sys
import time
from pathlib import Path


def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def encode(schema, source, secret_file, out):
    from clkhash import clk, schema as schemas
    from clkhash.serialization import serialize_bitarray

    with open(schema, encoding="utf-8") as text:
        loaded = schemas.from_json_file(text)
    secret = Path(secret_file).read_text().strip()
    start, used = time.perf_counter(), cpu()
    with open(source, encoding="utf-8", newline="") as rows:
        # In this process: workers of its own are never waited for, so that their time would not be seen.
        filters = clk.generate_clk_from_csv(rows, secret, loaded, progress_bar=False, max_workers=1)
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"clks": [serialize_bitarray(one) for one in filters]}, file)
    return {"wall": time.perf_counter() - start, "cpu": cpu() - used, "records": len(filters)}


def filters(path):
    from bitarray import bitarray

    made = []
    for text in json.loads(Path(path).read_text())["clks"]:
        one = bitarray()
        one.frombytes(base64.b64decode(text))
        made.append(one)
    return made


def compare(first, second, threshold, rounds, out):
    from anonlink.candidate_generation import find_candidate_pairs
    from anonlink.similarities import dice_coefficient_accelerated

    sides = filters(first), filters(second)
    best = None
    for _ in range(int(rounds)):
        start, used = time.perf_counter(), cpu()
        scores, _, (a, b) = find_candidate_pairs(sides, dice_coefficient_accelerated, float(threshold))
        took = time.perf_counter() - start, cpu() - used
        best = min(best or took, took)
    with open(out, "w", encoding="utf-8") as file:
        file.write("index_a,index_b,score\n")
        file.writelines(f"{x},{y},{score!r}\n" for score, x, y in zip(scores, a, b))
    return {"wall": best[0], "cpu": best[1], "pairs": len(scores)}


what, *arguments = sys.argv[1:]
result = {"encode": encode, "compare": compare}[what](*arguments)
result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(result), flush=True)
os._exit(0)
