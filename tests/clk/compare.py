"""Pairs, scores and greedy solutions by anonlink, for linkage-core/clk/tests/anonlink.rs.

    venv/bin/python tests/clk/compare.py > tests/clk/compare.json

Filters are made from a seed: random ones of the usual density, copies of them with bits changed, some with a subset of
another's bits (where rounding of anonlink's popcount bound shows), ties, one without bits and one with all.
Scores are written as text, so that no JSON reader rounds them.
"""
import base64
import json
import random

from anonlink.candidate_generation import find_candidate_pairs
from anonlink.similarities import dice_coefficient_accelerated
from anonlink.solving import greedy_solve, pairs_from_groups
from bitarray import bitarray


def made_of(bits, ones):
    return bitarray([bit in ones for bit in range(bits)])


def parties(bits, seed, sizes):
    draw = random.Random(seed)
    pick = lambda count, among: set(draw.sample(sorted(among), count))
    everything = set(range(bits))
    persons = [pick(max(1, int(bits * draw.uniform(0.2, 0.5))), everything) for _ in range(max(sizes))]
    sides = []
    for size in sizes:
        side = []
        for person in persons[:size]:
            kind = draw.random()
            if kind < 0.15:
                ones = pick(max(1, int(len(person) * draw.uniform(0.4, 1))), person)
            elif kind < 0.8:
                changed = draw.randrange(0, max(2, len(person) // 3))
                ones = person ^ pick(min(changed, bits), everything)
            else:
                ones = person
            side.append(made_of(bits, ones))
        side[3] = made_of(bits, set())
        side[7] = made_of(bits, everything)
        side[9] = side[8]
        order = list(range(size))
        draw.shuffle(order)
        sides.append([side[at] for at in order])
    return sides


def nested(bits, sizes):
    """Each filter within the next: every pair has the greatest score that its popcounts allow."""
    return [[made_of(bits, set(range(ones))) for ones in range(1, size + 1)] for size in sizes]


def case(bits, seed, sizes, thresholds):
    sides = parties(bits, seed, sizes) if seed else nested(bits, sizes)
    results = []
    for threshold in thresholds:
        candidates = find_candidate_pairs(sides, dice_coefficient_accelerated, float(threshold))
        scores, _, (first, second) = candidates
        results.append({
            "threshold": threshold,
            "pairs": [[a, b, repr(score)] for score, a, b in zip(scores, first, second)],
            "greedy": sorted(map(list, pairs_from_groups(greedy_solve(candidates)))),
        })
    return {
        "bits": bits,
        "clks": [[base64.b64encode(f.tobytes()).decode() for f in side] for side in sides],
        "results": results,
    }


CASES = [
    (1024, 1, (41, 37), ["0.6", "0.7", "0.8", "0.95", "1.0"]),
    (1024, 2, (12, 70), ["0.5", "0.75"]),
    (128, 3, (40, 45), ["0.6", "0.7", "0.9"]),
    (200, 4, (23, 36), ["0.55", "0.7"]),
    (64, 5, (30, 33), ["0.6", "0.7", "0.8"]),
    (2048, 6, (20, 21), ["0.7"]),
    (192, 7, (10, 11), ["0.0", "0.3"]),
    (128, 0, (30, 45), ["0.6", "0.7", "0.9"]),
]
print(json.dumps([case(*c) for c in CASES], separators=(",", ":")))
