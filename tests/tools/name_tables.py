#!/usr/bin/env python3
"""Builds the frequency tables that linkage-encoding embeds, from INSEE open data.

    name_tables.py SOURCE_FOLDER OUT_FOLDER      e.g. name_tables.py names linkage-core/encoding/data

SOURCE_FOLDER holds noms.csv.gz (nom;nombre), prenoms.csv.gz (sexe;prenom;decennie;nombre) and communes.csv.gz
(code;nom;cp;dep;population). Aggregates only: no row describes a person. See NOTICE for the sources and their licence.

surnames.bin.gz, given_names.bin.gz: gzip of entries in rising order, each
    shared (u8)     leading bytes in common with the entry before
    length (u8)     bytes that follow
    suffix          upper-case ASCII, words separated by one space
    class (u8)      round(8 * log2(count)), so that counts are exact within 5 %
communes.tsv.gz: gzip of lines code, name, postcode, département, population, separated by tabs.
The same input gives the same bytes (gzip without a time stamp).
"""

import collections, csv, gzip, io, math, pathlib, re, sys, unicodedata

# Births before this decade say little about who is served today.
FIRST_DECADE = 1930


def fold(text):
    text = text.replace('Œ', 'OE').replace('Æ', 'AE')
    text = ''.join(c for c in unicodedata.normalize('NFKD', text) if not unicodedata.combining(c)).upper()
    text = re.sub(r"['’]", '', text)
    return ' '.join(re.split(r'[^A-Z]+', text)).strip()


def rows(path):
    with gzip.open(path, 'rt', encoding='utf-8', newline='') as lines:
        yield from csv.DictReader(lines, delimiter=';')


def pack(counts):
    out, before = bytearray(), b''
    for name in sorted(counts):
        word = name.encode('ascii')[:255]
        shared = 0
        while shared < min(len(word), len(before), 255) and word[shared] == before[shared]:
            shared += 1
        out += bytes([shared, len(word) - shared]) + word[shared:] + bytes([min(255, round(8 * math.log2(counts[name])))])
        before = word
    return bytes(out)


def write(path, data):
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode='wb', compresslevel=9, mtime=0, filename='') as out:
        out.write(data)
    path.write_bytes(packed.getvalue())
    print(path, len(packed.getvalue()))


def main():
    source, target = map(pathlib.Path, sys.argv[1:3])
    surnames, given = collections.Counter(), collections.Counter()
    for row in rows(source / 'noms.csv.gz'):
        if name := fold(row['nom']):
            surnames[name] += int(row['nombre'])
    for row in rows(source / 'prenoms.csv.gz'):
        if row['decennie'].isdigit() and int(row['decennie']) >= FIRST_DECADE:
            if name := fold(row['prenom']):
                given[name] += int(row['nombre'])
    write(target / 'surnames.bin.gz', pack(surnames))
    write(target / 'given_names.bin.gz', pack(given))
    lines = ['\t'.join((r['code'], r['nom'], r['cp'], r['dep'], r['population'])) for r in rows(source / 'communes.csv.gz')]
    write(target / 'communes.tsv.gz', ('\n'.join(sorted(lines)) + '\n').encode())


if __name__ == '__main__':
    main()
