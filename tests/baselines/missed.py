"""Which errors in the records stand behind the true pairs that one link set has and another lacks.

    python3 missed.py --links LINKS.csv --other OTHER.csv --truth TRUTH_FOLDER --period 2024-01 [--month-index 0]

Counts cross-party true pairs that OTHER links and LINKS does not, by the slips that `linkage synth` (or the sample's
generator) wrote into either record, from `truth_errors.csv`. Birth place slips are left out: most pairs have one.
Prints the kinds of slip, the pairs that LINKS alone lacks, all true pairs with that slip, and the share.
"""

import argparse
import collections
import csv
import itertools
import pathlib
import re


def persons_by_record(path):
    with open(path, encoding="utf-8", newline="") as file:
        return {(row["party"], row["local_id"]): row["person"] for row in csv.DictReader(file)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--links", "--other", "--truth"):
        parser.add_argument(name, required=True, type=pathlib.Path)
    parser.add_argument("--period", required=True)
    parser.add_argument("--month-index", default="0")
    args = parser.parse_args()
    ours, theirs = persons_by_record(args.links), persons_by_record(args.other)
    people = collections.defaultdict(list)
    with open(args.truth / "truth.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["month"] == args.period:
                people[row["person_id"]].append((row["party"], row["local_id"]))
    slips = collections.defaultdict(set)
    with open(args.truth / "truth_errors.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["month_index"] == args.month_index:
                words = re.split(r"[+|]", row["ops"])
                slips[row["party"], row["local_id"]] = {w for w in words if w and not w.startswith("lieu")}

    totals, lacking, present = collections.Counter(), collections.Counter(), collections.Counter()
    for records in people.values():
        for a, b in itertools.combinations(records, 2):
            if a[0] == b[0]:
                continue
            here, there = (found.get(a, a) == found.get(b, b) for found in (ours, theirs))
            totals[here, there] += 1
            kinds = slips[a] | slips[b] or {"(none)"}
            present.update(kinds)
            if there and not here:
                lacking.update(kinds)
    print(f"both {totals[True, True]}, other alone {totals[False, True]}, links alone {totals[True, False]}, neither {totals[False, False]}")
    print("\n| slip in either record | other alone | all true pairs | share |\n|---|---:|---:|---:|")
    for kind, count in lacking.most_common(15):
        print(f"| {kind} | {count} | {present[kind]} | {count / present[kind]:.3f} |")


if __name__ == "__main__":
    main()
