#!/usr/bin/env python3
"""What a run's bytes tell the broker outside the blocks: the figures of docs/threat-model.md.

    broker_view.py VIEW TRUTH.csv MONTH

VIEW is a folder written by `linkage trial --broker-view` under an agreement with the French fields (payloads of 82 bytes:
three filters of 128 bits, then 17 slots). Exits 1 when the weights of one record's filters differ from entry to entry
or are none of the classes', which levelling excludes (docs/protocol.md, section 3). Needs numpy and pyarrow.
"""

import collections, csv, itertools, math, sys
import numpy as np
import pyarrow.parquet as pq

TOKENS, FILTERS, BITS, HASHES, SLOTS, PAYLOAD = 20, 3, 128, 4, 17, 82
BOUNDS = [4, 6, 8, 10, 13, 17, 22, 28, 36]
FIELDS = ["birth name", "usage name", "given names"]


def class_weight(bound):
    empty = BITS << 32
    for _ in range(bound * HASHES):
        empty -= empty // BITS
    return BITS - ((empty + (1 << 31)) >> 32)


def fixed(table, column, width):
    array = table[column].combine_chunks()
    array = array.chunk(0) if hasattr(array, "num_chunks") else array
    raw = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    return raw[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)


def counts(values):
    return np.array(list(collections.Counter(values).values()), dtype=float)


def entropy(c):
    p = c / c.sum()
    return float(-(p * np.log2(p)).sum())


def told(name, values):
    """How finely a value, seen for every record, tells records apart."""
    c = counts(values)
    print(f"{name}: {entropy(c):.2f} bits of entropy, {len(c)} values; records alone in theirs: {(c == 1).sum() / c.sum():.2%},"
          f" fewer than 11 share it: {c[c < 11].sum() / c.sum():.2%}")


def main(view, truth, month):
    table = pq.read_table(f"{view}/broker.parquet")
    n = table.num_rows // TOKENS
    payload = fixed(table, "payload", PAYLOAD)
    handle = [bytes(h).hex() for h in fixed(table, "handle", 16)[::TOKENS]]
    header = table["header"].to_numpy()[::TOKENS].tolist()
    party = np.array(table["party"].to_pylist())[::TOKENS]
    print(f"records, decoys among them: {n}")
    told("header", header)

    filters = payload[:, : FILTERS * BITS // 8].reshape(n, TOKENS, FILTERS, BITS // 8)
    weights = np.bitwise_count(filters).sum(3, dtype=np.uint8)
    slots = np.frombuffer(payload[:, FILTERS * BITS // 8 :].tobytes(), dtype="<u2").reshape(n, TOKENS, SLOTS)
    absent = slots == 0
    differ = (weights != weights[:, :1]).any((1, 2)) | (absent != absent[:, :1]).any((1, 2))
    strange = ~np.isin(weights, [0] + [class_weight(bound) for bound in BOUNDS]).all((1, 2))
    print(f"records whose weights or missing fields differ between entries: {differ.sum()};"
          f" with a weight that is no class's: {strange.sum()}")

    told("weights of all entries, in order", [w.tobytes() for w in weights])
    classes = [tuple(w) for w in weights[:, 0].tolist()]
    outline = [(header[i], classes[i], absent[i, 0].tobytes()) for i in range(n)]
    told("outline (header, weight classes, missing fields)", outline)

    # One permutation serves all filters of an entry, so that how many bits two of them share is the same in every run.
    for i, j in itertools.combinations(range(FILTERS), 2):
        both = (weights[:, 0, i] > 0) & (weights[:, 0, j] > 0)
        shared = np.bitwise_count(filters[both][:, :, i] & filters[both][:, :, j]).sum(2, dtype=np.uint8)
        c = counts([s.tobytes() for s in shared])
        print(f"bits shared by {FIELDS[i]} and {FIELDS[j]}: both in {both.sum() / n:.1%} of records;"
              f" of these, alone in their {TOKENS} numbers, in order: {(c == 1).sum() / both.sum():.2%},"
              f" sorted: {(counts([np.sort(s).tobytes() for s in shared]) == 1).sum() / both.sum():.2%}")

    owner = {r["handle"]: (r["party"], r["local_id"]) for r in csv.DictReader(open(f"{view}/handles.csv"))}
    person = {(r["party"], r["local_id"]): r["person_id"] for r in csv.DictReader(open(truth)) if r["month"] == month}
    who = [person.get(owner.get(h)) for h in handle]
    lengths = [(header[i], *classes[i]) for i in range(n)]
    groups = collections.defaultdict(list)
    for i, p in enumerate(who):
        if p is not None:
            groups[p].append(i)
    pairs = [(a, b) for g in groups.values() for a, b in itertools.combinations(g, 2) if party[a] != party[b]]
    same = sum(lengths[a] == lengths[b] for a, b in pairs)
    by = collections.defaultdict(collections.Counter)
    for i, outline_ in enumerate(lengths):
        by[outline_][party[i]] += 1
    drawn = sum((sum(k.values()) ** 2 - sum(v * v for v in k.values())) // 2 for k in by.values())
    chance = sum(v * (v - 1) for v in (sum(k.values()) for k in by.values())) / (n * (n - 1))
    print(f"header and weight classes agree in {same / len(pairs):.1%} of {len(pairs)} true cross-party pairs and in"
          f" {chance:.3%} of random ones: {math.log2(same / len(pairs) / chance):.1f} bits;"
          f" linking on them alone: precision {same / drawn:.2%}")
    return int(differ.any() or strange.any())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
