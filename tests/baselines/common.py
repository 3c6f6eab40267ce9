"""What the baselines share: reading and cleaning the files, the truth, figures over pairs, the link file.

Nothing outside Python's standard library. Cleaning is what a careful analyst would do before using any tool that sees
the names: accents folded, titles and remarks taken out, birth places brought from INSEE codes to names.
"""

import csv
import gzip
import itertools
import pathlib
import re
import unicodedata
from collections import Counter, defaultdict

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

# Civil titles, as whole words at the start of a name.
TITLES = {"M", "MR", "MME", "MLLE", "MONSIEUR", "MADAME", "MADEMOISELLE", "DR"}

# INSEE, code officiel géographique, countries: those that matter here.
COUNTRIES = {
    "99100": "FRANCE", "99109": "ALLEMAGNE", "99111": "BULGARIE", "99114": "ROUMANIE", "99121": "SERBIE",
    "99122": "POLOGNE", "99123": "RUSSIE", "99125": "ALBANIE", "99127": "ITALIE", "99131": "BELGIQUE",
    "99134": "ESPAGNE", "99139": "PORTUGAL", "99155": "UKRAINE", "99203": "IRAQ", "99204": "IRAN",
    "99206": "SYRIE", "99208": "TURQUIE", "99212": "AFGHANISTAN", "99213": "PAKISTAN", "99216": "CHINE",
    "99223": "INDE", "99234": "CAMBODGE", "99235": "SRI LANKA", "99243": "VIET NAM", "99246": "BANGLADESH",
    "99252": "ARMENIE", "99255": "GEORGIE", "99304": "GAMBIE", "99309": "TANZANIE",
    "99312": "CONGO REPUBLIQUE DEMOCRATIQUE", "99315": "ETHIOPIE", "99317": "ERYTHREE", "99318": "SOMALIE",
    "99322": "CAMEROUN", "99324": "CONGO", "99326": "COTE D IVOIRE", "99327": "BENIN", "99328": "GABON",
    "99330": "GUINEE", "99331": "BURKINA FASO", "99333": "MADAGASCAR", "99335": "MALI", "99336": "MAURITANIE",
    "99338": "NIGERIA", "99341": "SENEGAL", "99343": "SOUDAN", "99344": "TCHAD", "99345": "TOGO",
    "99350": "MAROC", "99351": "TUNISIE", "99352": "ALGERIE", "99395": "ANGOLA", "99397": "COMORES",
    "99410": "HAITI",
}


def folded(text):
    """Upper case, accents folded, ligatures written out, everything but letters and digits a space."""
    text = text.upper().replace("Œ", "OE").replace("Æ", "AE")
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^A-Z0-9]+", " ", text).split())


def clean_name(text):
    """A name without remarks in brackets, titles or digits."""
    words = folded(re.sub(r"\(.*?\)", " ", text)).split()
    words = [w for w in words if w.isalpha()]
    while len(words) > 1 and words[0] in TITLES:
        words = words[1:]
    return " ".join(words)


class Places:
    """Birth places to (commune or town by name, country by name), from whichever columns a party has."""

    def __init__(self):
        path = REPOSITORY / "linkage-core/encoding/data/communes.tsv.gz"
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = [line.rstrip("\n").split("\t") for line in lines]
        self.by_code = {row[0]: folded(row[1]) for row in rows}
        self.communes = set(self.by_code.values())
        self.countries = set(COUNTRIES.values())

    def read(self, code, name, country):
        code, name, country = code.strip(), folded(name), folded(country)
        town = None
        if code in COUNTRIES:
            return None, COUNTRIES[code]
        if code:
            town, country = self.by_code.get(code, code), "FRANCE"
        elif name and name not in self.countries:
            town = name
        if country and country not in self.countries and country in self.communes:
            # A commune in the column of the country.
            town, country = town or country, "FRANCE"
        country = country or (name if name in self.countries else "FRANCE" if town in self.communes else "")
        return town, country or None


def read_parties(inputs):
    """`inputs`: list of (party, file). Returns the kind of files and the records: `party`, `local_id`, columns."""
    records, kind = [], None
    places = None
    for party, path in inputs:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            found = "french" if "nom_naissance" in reader.fieldnames else "febrl"
            if kind not in (None, found):
                raise SystemExit(f"{path}: not the same kind of file as the others")
            kind = found
            if kind == "french":
                places = places or Places()
                records.extend(french(party, row, places) for row in reader)
            else:
                records.extend(febrl(party, row) for row in reader)
    return kind, records


def french(party, row, places):
    birth, usage = clean_name(row["nom_naissance"]), clean_name(row["nom_usage"])
    given = clean_name(row["prenoms"])
    date = row["date_naissance"].strip()
    whole = re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", date)
    year, month, day = whole.groups() if whole else (None, None, None)
    # 00 is no day or month, and 1900 no year: placeholders of an entry form.
    month, day = (None if part in (None, "00") else part for part in (month, day))
    year = None if year in (None, "0000", "1900") else year
    town, country = places.read(row["code_lieu_naissance"], row["lieu_naissance"], row["pays_naissance"])
    name = birth or usage or None
    names = list(dict.fromkeys(n for n in (birth, usage) if n))
    # Double names are also known by their halves; particles of up to three letters aren't a name of their own.
    words = {w for n in names for w in n.split() if len(w) > 3}
    return {
        "party": party,
        "local_id": row["local_id"].strip(),
        "name": name,
        "names": names,
        "name_words": sorted(words | set(names)),
        "given": given or None,
        "given1": given.split()[0] if given else None,
        "given_words": [w for w in given.split() if len(w) > 2],
        "dob": f"{year}-{month}-{day}" if year and month and day else None,
        "year": year,
        "month": month,
        "day": day,
        "date_default": bool(month and day and (month + day in ("0101", "1231"))),
        "sex": row["sexe"].strip() or None,
        "town": town,
        "country": country,
        "residence": row["commune_residence"].strip() or None,
        # As the conventions' annex has it: the fields as they stand, not cleaned.
        "key_fields": (row["nom_naissance"] or row["nom_usage"], row["prenoms"], date),
    }


def febrl(party, row):
    row = {key.strip(): (value or "").strip() for key, value in row.items()}
    date = row["date_of_birth"]
    whole = date if re.fullmatch(r"\d{8}", date) else ""
    return {
        "party": party,
        "local_id": row["rec_id"],
        "name": clean_name(row["surname"]) or None,
        "given": clean_name(row["given_name"]) or None,
        "dob": date or None,
        "year": whole[:4] or None,
        "month": whole[4:6] or None,
        "day": whole[6:] or None,
        "suburb": folded(row["suburb"]) or None,
        "postcode": row["postcode"] or None,
        "address": folded(row["address_1"]) or None if "address_1" in row else None,
        "key_fields": (row["surname"], row["given_name"], f"{whole[:4]}-{whole[4:6]}-{whole[6:]}"),
    }


def read_truth(path, period, records):
    """The true person of every record, in the records' order; None where the truth does not say."""
    people = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if period and row.get("month", period) != period:
                continue
            people[row["party"], row["local_id"]] = row["person_id"]
    return [people.get((r["party"], r["local_id"])) for r in records]


def read_tags(path):
    """Tags by person."""
    if path is None:
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        return {row["person_id"]: set(filter(None, row["tags"].split("|"))) for row in csv.DictReader(file)}


class Judge:
    """Precision, recall and F1 of pairs: across parties, or within the one party there is."""

    def __init__(self, records, people, tags):
        self.parties = [r["party"] for r in records]
        self.people, self.tags = people, tags
        self.alone = len(set(self.parties)) == 1
        groups = defaultdict(Counter)
        for party, person in zip(self.parties, people):
            groups[person][party] += 1
        self.true_by_person = {person: self.pairs_of(counts) for person, counts in groups.items()}
        self.true_pairs = sum(self.true_by_person.values())

    def pairs_of(self, counts):
        total = sum(counts.values())
        within = sum(n * (n - 1) // 2 for n in counts.values())
        return within if self.alone else total * (total - 1) // 2 - within

    def counts(self, a, b):
        """Whether a pair is one to judge."""
        return self.alone or self.parties[a] != self.parties[b]

    def same(self, a, b):
        return self.people[a] is not None and self.people[a] == self.people[b]

    def figures(self, pairs, by_tag=True):
        """As `linkage evaluate` counts: a linked pair concerns a tag when a tagged person is on at least one side."""
        linked = correct = 0
        tag_linked, tag_correct = Counter(), Counter()
        for a, b in pairs:
            if not self.counts(a, b):
                continue
            same = self.same(a, b)
            linked += 1
            correct += same
            if by_tag:
                for tag in self.tags.get(self.people[a], set()) | self.tags.get(self.people[b], set()):
                    tag_linked[tag] += 1
                    tag_correct[tag] += same
        found = shares(self.true_pairs, linked, correct)
        if by_tag and self.tags:
            true = Counter()
            for person, pairs_of_person in self.true_by_person.items():
                for tag in self.tags.get(person, ()):
                    true[tag] += pairs_of_person
            found["by_tag"] = {tag: shares(true[tag], tag_linked[tag], tag_correct[tag]) for tag in sorted(true)}
        return found


def shares(true, linked, correct):
    precision = correct / linked if linked else None
    recall = correct / true if true else None
    f1 = 2 * correct / (linked + true) if linked + true else None
    return {"true_pairs": true, "linked_pairs": linked, "correct": correct, "precision": precision, "recall": recall, "f1": f1}


def components(count, pairs):
    """Connected components as the list of every record's smallest member (union-find)."""
    parent = list(range(count))

    def root(x):
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for a, b in pairs:
        a, b = root(a), root(b)
        if a != b:
            parent[max(a, b)] = min(a, b)
    return [root(x) for x in range(count)]


def cluster_pairs(clusters):
    """Every pair of records of one cluster."""
    members = defaultdict(list)
    for record, cluster in enumerate(clusters):
        members[cluster].append(record)
    return itertools.chain.from_iterable(itertools.combinations(m, 2) for m in members.values() if len(m) > 1)


def write_links(path, records, clusters):
    """The file that `linkage evaluate --links` reads."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["person", "party", "local_id", "match_class", "probability"])
        for record, cluster in zip(records, clusters):
            writer.writerow([f"C{cluster}", record["party"], record["local_id"], "", ""])


def arguments(parser):
    """Options that both baselines take."""
    parser.add_argument(
        "--input", action="append", required=True, metavar="PARTY=FILE", help="once for each party; one alone is searched for duplicates"
    )
    parser.add_argument("--truth", required=True, help="party,month,local_id,person_id")
    parser.add_argument("--period", help="the truth's month")
    parser.add_argument("--persons", help="person_id,…,tags")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder of the link files and figures.json")


def prepared(args):
    """Reads what the options name: (kind, records, judge)."""
    inputs = [tuple(text.split("=", 1)) for text in args.input]
    kind, records = read_parties(inputs)
    people = read_truth(args.truth, args.period, records)
    args.out.mkdir(parents=True, exist_ok=True)
    return kind, records, Judge(records, people, read_tags(args.persons))
