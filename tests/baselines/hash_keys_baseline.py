"""Today's conventions: two SHA-256 keys of the fields as they stand, compared for equality.

Primary key: SHA-256 of NOM, PRENOM, JJMMAAAA written together (upper case, accents folded, letters and digits only).
Secondary key: NOM, MM, AAAA. Two parties compare primary keys first; a record that found nobody at the other party by
its primary key is then compared by the secondary with those there that found nobody either.

    python3 hash_keys_baseline.py --input ccas=FILE ... --truth FILE --period 2024-01 --persons FILE --out FOLDER

Writes `primary.csv` and `both.csv` (for `linkage evaluate`) and prints `figures.json`.
"""

import argparse
import collections
import hashlib
import itertools
import json

import common


def keys(record):
    """Both keys, None where a field that they need is empty."""
    name, given, date = record["key_fields"]
    name, given = (common.folded(text).replace(" ", "") for text in (name, given))
    year, month, day = (date.split("-") + ["", "", ""])[:3]
    sha = lambda text: hashlib.sha256(text.encode()).hexdigest()
    primary = sha(name + given + day + month + year) if name and given and len(day + month + year) == 8 else None
    secondary = sha(name + month + year) if name and len(month + year) == 6 else None
    return primary, secondary


def equal_pairs(left, right, key):
    index = collections.defaultdict(list)
    for record in right:
        if key[record]:
            index[key[record]].append(record)
    return [(a, b) for a in left for b in index.get(key[a], ()) if a != b]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.arguments(parser)
    args = parser.parse_args()
    _, records, judge = common.prepared(args)
    primary, secondary = zip(*(keys(r) for r in records))
    parties = collections.defaultdict(list)
    for number, record in enumerate(records):
        parties[record["party"]].append(number)

    first, second = [], []
    sides = [(m, m) for m in parties.values()] if judge.alone else list(itertools.combinations(parties.values(), 2))
    for left, right in sides:
        equal = [(a, b) for a, b in equal_pairs(left, right, primary) if not judge.alone or a < b]
        found = {record for pair in equal for record in pair}
        rest = equal_pairs([a for a in left if a not in found], [b for b in right if b not in found], secondary)
        first += equal
        second += [(a, b) for a, b in rest if not judge.alone or a < b]

    result = {"records": len(records), "variants": {}}
    for name, pairs in (("primary", first), ("both", first + second)):
        clusters = common.components(len(records), pairs)
        common.write_links(args.out / f"{name}.csv", records, clusters)
        result["variants"][name] = {
            "pairs": judge.figures(pairs),
            "clusters": judge.figures(common.cluster_pairs(clusters)),
            "links": f"{name}.csv",
            "meetings_per_record": 2 * sum(not judge.same(a, b) for a, b in pairs) / len(records),
        }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (args.out / "figures.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
