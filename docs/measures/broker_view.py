#!/usr/bin/env python3
"""What a run's bytes tell the broker outside the blocks: the figures of docs/threat-model.md.

    broker_view.py VIEW TRUTH.csv MONTH

VIEW is a folder written by `linkage trial --broker-view` under an agreement with the French fields (payloads of 82 bytes:
three filters of 128 bits, then 17 slots). Needs numpy and pyarrow.
"""

import collections, csv, itertools, math, sys
import numpy as np
import pyarrow.parquet as pq

TOKENS, FILTERS, BITS, HASHES, SLOTS, PAYLOAD = 20, 3, 128, 4, 17, 82


def fixed(table, column, width):
    array = table[column].combine_chunks()
    array = array.chunk(0) if hasattr(array, "num_chunks") else array
    raw = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    return raw[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)


def counts(values):
    return np.array(list(collections.Counter(values).values()), dtype=float)


def entropy(values):
    c = counts(values)
    p = c / c.sum()
    return float(-(p * np.log2(p)).sum())


def main(view, truth, month):
    table = pq.read_table(f"{view}/broker.parquet")
    n = table.num_rows // TOKENS
    payload = fixed(table, "payload", PAYLOAD)
    handle = [bytes(h).hex() for h in fixed(table, "handle", 16)[::TOKENS]]
    header = table["header"].to_numpy()[::TOKENS]
    party = np.array(table["party"].to_pylist())[::TOKENS]

    c = counts(header.tolist())
    print(f"records, decoys among them: {n}")
    print(f"header: {entropy(header.tolist()):.2f} bits of entropy, {len(c)} values;"
          f" records whose header fewer than 11 share: {c[c < 11].sum() / n:.2%}")

    ones = np.unpackbits(payload[:, : FILTERS * BITS // 8], axis=1).reshape(n, TOKENS, FILTERS, BITS).sum(3)
    vectors = [v.tobytes() for v in ones.astype(np.uint8)]
    seen = collections.Counter(vectors)
    print(f"records with a popcount vector ({TOKENS} x {FILTERS}, in order) that no other has:"
          f" {sum(seen[v] == 1 for v in vectors) / n:.2%}")

    # The number of q-grams of each name, from the mean popcount of its twenty filters.
    mean = np.minimum(ones.mean(1), BITS - 1)
    grams = np.rint(np.log(1 - mean / BITS) / np.log(1 - 1 / BITS) / HASHES).astype(int)
    slots = np.frombuffer(payload[:, FILTERS * BITS // 8 :].tobytes(), dtype="<u2").reshape(n, TOKENS, SLOTS)
    missing = [m.tobytes() for m in slots[:, 0, :] == 0]
    outline = [(int(header[i]), *grams[i], missing[i]) for i in range(n)]
    c = counts(outline)
    print(f"outline (header, name lengths, missing fields): {entropy(outline):.2f} bits of entropy;"
          f" records alone in theirs: {(c == 1).sum() / n:.1%}, fewer than 11 share it: {c[c < 11].sum() / n:.1%}")

    owner = {r["handle"]: (r["party"], r["local_id"]) for r in csv.DictReader(open(f"{view}/handles.csv"))}
    person = {(r["party"], r["local_id"]): r["person_id"] for r in csv.DictReader(open(truth)) if r["month"] == month}
    who = [person.get(owner.get(h)) for h in handle]
    lengths = [(int(header[i]), *grams[i]) for i in range(n)]
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
    print(f"header and name lengths agree in {same / len(pairs):.1%} of {len(pairs)} true cross-party pairs and in"
          f" {chance:.3%} of random ones: {math.log2(same / len(pairs) / chance):.1f} bits;"
          f" linking on them alone: precision {same / drawn:.2%}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
