#!/usr/bin/env python3
"""Households of a population with known truth, month by month: makes the rows that the measurement reads.

    python3 docs/measures/households.py archive DATA FILES
    python3 docs/measures/households.py rows DATA LINKS OUT.tsv

DATA is a folder of `linkage synth` (canonical/, truth/). `archive` writes FILES/MONTH/PARTY_MONTH.csv: what a node's
archive holds by then, every record delivered so far as it was last delivered. `rows` takes LINKS/MONTH/links.csv, of a
`linkage trial` over such files, and writes a line for each record delivered for the month:

    period, party, true person, linked person, reference, birth month, composition, true household, true composition

Trials link the archive of each month by itself; persons are carried through months as the custodian's registry does: a cluster is the
person that most of its records were in earlier months, the older one on a tie, and a new one without history.
Dates of birth are the party's own, minimised to the month. The standard library only.
"""

import collections
import csv
import pathlib
import re
import sys


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def carried(clusters, person_of, born):
    """Person of each cluster of (party, local id); remembers it for the months that follow."""
    claims = collections.defaultdict(collections.Counter)
    for name, records in clusters.items():
        for record in records:
            if record in person_of:
                claims[person_of[record]][name] += 1
    kept = {}
    for person in sorted(claims):
        name, _ = max(claims[person].items(), key=lambda item: (item[1], -min(map(born.get, clusters[item[0]]))))
        kept.setdefault(name, person)
    minted = 1 + max(person_of.values(), default=-1)
    for name, records in sorted(clusters.items()):
        if name not in kept:
            kept[name], minted = minted, minted + 1
        for record in records:
            person_of[record] = kept[name]


def archive(data, out):
    data, out = pathlib.Path(data), pathlib.Path(out)
    months = sorted({path.stem.rsplit("_", 1)[1] for path in (data / "canonical").glob("*.csv")})
    held = collections.defaultdict(dict)
    for month in months:
        (out / month).mkdir(parents=True, exist_ok=True)
        for path in sorted((data / "canonical").glob(f"*_{month}.csv")):
            rows = read(path)
            records = held[path.stem.rsplit("_", 1)[0]]
            records.update((row["local_id"], row) for row in rows)
            with open(out / month / path.name, "w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
                writer.writeheader()
                writer.writerows(records.values())


def rows(data, links, out):
    data, links = pathlib.Path(data), pathlib.Path(links)
    truth = collections.defaultdict(list)
    for row in read(data / "truth/truth.csv"):
        truth[row["month"]].append(row)
    composition = {
        (row["person_id"], int(row["month_index"])): row["composition"] for row in read(data / "truth/truth_attributes.csv")
    }
    person_of, born = {}, {}
    with open(out, "w", encoding="utf-8") as file:
        for at, month in enumerate(sorted(truth)):
            files = {}
            for party in sorted({row["party"] for row in truth[month]}):
                files[party] = {row["local_id"]: row for row in read(data / f"canonical/{party}_{month}.csv")}
            clusters = collections.defaultdict(list)
            for row in read(links / month / "links.csv"):
                record = (row["party"], row["local_id"])
                born.setdefault(record, len(born))
                clusters[row["person"]].append(record)
            carried(clusters, person_of, born)
            for row in truth[month]:
                record = (row["party"], row["local_id"])
                held = files[row["party"]][row["local_id"]]
                date = re.fullmatch(r"(\d{4})-(\d\d)-\d\d", held["date_naissance"])
                line = [
                    month,
                    row["party"],
                    int(row["person_id"][1:]),
                    person_of[record],
                    held["local_household_id"],
                    f"{date[1]}-{date[2]}" if date else "",
                    held["composition"],
                    row["household_id"],
                    composition[row["person_id"], at],
                ]
                file.write("\t".join(map(str, line)) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["archive", data, out]:
            archive(data, out)
        case ["rows", data, links, out]:
            rows(data, links, out)
        case _:
            sys.exit(__doc__)
