#!/usr/bin/env python3
"""Makes the three tables of this folder from INSEE's files (see README.md). Byte-for-byte repeatable.

    python3 build.py FOLDER     where FOLDER holds noms.csv.gz, prenoms.csv.gz and communes.csv.gz
"""
import gzip
import sys
from pathlib import Path

SURNAMES = 30_000       # the most frequent ones: 71 % of bearers
GIVEN_NAME_FLOOR = 150  # births in a decade below which a given name is left out
COMMUNE_FLOOR = 2_500   # inhabitants, except in the home département
HOME = "34"

source, target = Path(sys.argv[1]), Path(__file__).parent


def rows(name):
    with gzip.open(source / name, "rt", encoding="utf-8", newline="") as file:
        next(file)
        return [line.rstrip("\r\n").split(";") for line in file]


def write(name, lines):
    data = "".join(line + "\n" for line in lines).encode()
    (target / name).write_bytes(gzip.compress(data, 9, mtime=0))


names = sorted(((name, int(count)) for name, count in rows("noms.csv.gz")), key=lambda row: (-row[1], row[0]))
write("noms.txt.gz", (f"{name};{count}" for name, count in names[:SURNAMES]))

given = [(sex, name, decade, int(count)) for sex, name, decade, count in rows("prenoms.csv.gz")]
given = [row for row in given if row[3] >= GIVEN_NAME_FLOOR and len(row[1]) > 1 and "_" not in row[1]]
given.sort(key=lambda row: (row[0], row[2], -row[3], row[1]))
write("prenoms.txt.gz", (";".join(map(str, row)) for row in given))

communes = [row for row in rows("communes.csv.gz") if len(row[3]) == 2 and (row[3] == HOME or int(row[4]) >= COMMUNE_FLOOR)]
communes.sort()
write("communes.txt.gz", (";".join(row) for row in communes))
