"""Runs Trait d'union and both baselines on every data set and prints docs/quality.md's tables in Markdown.

    python3 table.py --linkage target/release/linkage --data DATA --work WORK [--only sample,synth,febrl4,febrl3]

DATA holds `sample/` (raw files, `canonical/`, `truth/`) and `febrl/` (dataset3, 4a, 4b). WORK receives everything
written: the synthetic population (made when it is not there), FEBRL's prepared files, links, figures. Run it with the
Python that has requirements.txt installed. All figures in the tables but the rows « pairs » come from
`linkage evaluate`; each is checked against common.py's own count, so that the two stand for the same thing.
"""

import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys

import common

HERE = pathlib.Path(__file__).resolve().parent
PARTIES = ["ccas", "siao", "departement", "francetravail", "caf"]
MONTH = "2024-01"
SYNTH_PERSONS, SYNTH_SEED = 100_000, 11
FEBRL_FIELDS = ["rec_id", "given_name", "surname", "date_of_birth", "suburb", "postcode"]
TITLES = {
    "sample": "Sample, month 2024-01",
    "synth": f"Synthetic population, {SYNTH_PERSONS:,} persons, month 2024-01",
    "febrl4": "FEBRL dataset 4, half overlap, five fields",
    "febrl4-address": "FEBRL dataset 4, half overlap, with address_1",
    "febrl3": "FEBRL dataset 3, one file with duplicates, five fields",
    "febrl3-address": "FEBRL dataset 3, with address_1",
}


def run(command, out=None):
    """Runs a program; CPU seconds and peak MiB of it."""
    print("…", *command[:3], file=sys.stderr)
    with open(out or os.devnull, "w", encoding="utf-8") as stdout:
        child = subprocess.Popen([str(part) for part in command], stdout=stdout)
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"failed ({status}): {' '.join(map(str, command))}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


class Set:
    """One data set: what each program reads, and how the result is judged."""

    def __init__(self, work, raw, clear, truth, period, persons):
        self.work, self.raw, self.clear = work, raw, clear
        self.truth, self.period, self.persons = truth, period, persons
        self.alone = len(clear) == 1

    def judged(self):
        options = ["--truth", self.truth]
        options += ["--period", self.period] if self.period else []
        return options + (["--persons", self.persons] if self.persons else [])


def french(folder, work):
    work.mkdir(parents=True, exist_ok=True)
    # The sample tags four kinds of homonyms and no homonym as such: the same word for all of them here.
    persons = work / "persons.csv"
    original = folder / "truth/truth_persons.csv"
    with open(original, encoding="utf-8", newline="") as source, open(persons, "w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(["person_id", "tags"])
        for row in csv.DictReader(source):
            tags = set(filter(None, row["tags"].split("|")))
            tags |= {"homonyme"} if any(tag.startswith("homonyme") for tag in tags) else set()
            writer.writerow([row["person_id"], "|".join(sorted(tags))])
    raw = [(p, folder / p / f"{p}_{MONTH}.csv") for p in PARTIES]
    clear = [(p, folder / "canonical" / f"{p}_{MONTH}.csv") for p in PARTIES]
    return Set(work, raw, clear, folder / "truth/truth.csv", MONTH, persons)


def febrl(files, work, fields):
    """Copies with the wanted columns; of the second file every record whose number has an even sum of digits is left out."""
    work.mkdir(parents=True, exist_ok=True)
    copies, truth = [], []
    for party, path in zip("ab", files):
        copy = work / f"{party}.csv"
        with open(path, encoding="utf-8", newline="") as source, open(copy, "w", encoding="utf-8", newline="") as target:
            writer = csv.DictWriter(target, fields, lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            for row in csv.DictReader(source, skipinitialspace=True):
                row = {key.strip(): value.strip() for key, value in row.items()}
                person = row["rec_id"].split("-")[1]
                if party == "b" and sum(map(int, person)) % 2 == 0:
                    continue
                writer.writerow(row)
                truth.append((party, row["rec_id"], person))
        copies.append((party, copy))
    with open(work / "truth.csv", "w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(["party", "local_id", "person_id"])
        writer.writerows(truth)
    return Set(work, copies, copies, work / "truth.csv", None, None)


def evaluated(linkage, data, links):
    out = data.work / "evaluation.json"
    run([linkage, "evaluate", "--links", links, *data.judged()], out)
    found = json.loads(out.read_text(encoding="utf-8"))
    head = found["all_pairs"] if data.alone else found["cross_party"]
    return head | {"by_tag": {tag["tag"]: tag for tag in found["by_tag"]}}


def inputs(files):
    return [part for party, path in files for part in ("--input", f"{party}={path}")]


def measure(linkage, name, data):
    """Rows of one table: (label, figures, meetings per record); and the remarks under it."""
    rows, remarks = [], []
    out = data.work / "trial"
    report = data.work / "trial.json"
    trial_use = run([linkage, "trial", *inputs(data.raw), "--no-oprf", "--seed", "7", "--json", "--out", out], report)
    linked = json.loads(report.read_text(encoding="utf-8"))["linkage"]
    found = evaluated(linkage, data, out / "links.csv")
    rows.append(("Trait d'union", found, linked["non_matching_meetings_per_record"]))
    for what in ("precision", "recall"):
        own = linked[what]
        remarks.append(f"own estimate of {what} {own['value']:.4f} [{own['low']:.4f}, {own['high']:.4f}], by the truth {found[what]:.4f}")

    thresholds = []
    for at, shown in (("truth", "threshold on the truth"), ("0.99", "0.99")):
        thresholds += [(f"{what} {at}", f"Splink, {shown}, {what}") for what in ("pairs", "clusters")]
    standard = [(key, label.replace("Splink", "Splink ready-made")) for key, label in thresholds if key.startswith("clusters")]
    for folder, script, options, variants in (
        ("splink", "splink_baseline.py", [], thresholds),
        ("splink-standard", "splink_baseline.py", ["--configuration", "standard"], standard if data.persons else []),
        ("hash", "hash_keys_baseline.py", [], [("primary", "SHA-256 keys, primary alone"), ("both", "SHA-256 keys, both")]),
    ):
        if not variants:
            continue
        out = data.work / folder
        use = run([sys.executable, HERE / script, *options, *inputs(data.clear), *data.judged(), "--out", out])
        figures = json.loads((out / "figures.json").read_text(encoding="utf-8"))
        for key, label in variants:
            found = figures["variants"][key]
            meetings = found.get("meetings_per_record", figures.get("met", {}).get("per_record"))
            counted = found.get("clusters", found)
            if "links" in found:
                found = evaluated(linkage, data, out / found["links"])
                for share in ("linked_pairs", "correct", "true_pairs"):
                    if counted[share] != found[share]:
                        raise SystemExit(f"{name}, {label}: {share} {counted[share]} here and {found[share]} by `linkage evaluate`")
            rows.append((label, found, meetings))
        if folder == "splink":
            remarks.append(f"Splink {figures['splink']} took {use[0] / trial_use[0]:.1f} times the CPU time and {use[1] / trial_use[1]:.1f} times the memory of the trial")
            remarks.append(f"of {found['true_pairs']:,} true pairs Splink's blocking met {figures['met']['recall']:.4f}")
    return rows, remarks


def cell(value, digits=4):
    return "–" if value is None else f"{value:.{digits}f}"


def table(name, data, rows, remarks):
    tags = [("homonyme", "precision", "homonym P"), ("jumeau", "precision", "twin P"), ("date_defaut", "recall", "default-date R")]
    tags = tags if data.persons else []
    print(f"### {TITLES[name]}\n")
    heads = ["", "P", "R", "F1", *(head for *_, head in tags), "meetings/record"]
    print("| " + " | ".join(heads) + " |")
    print("|---|" + "---:|" * (len(heads) - 1))
    for label, found, meetings in rows:
        cells = [cell(found[key]) for key in ("precision", "recall", "f1")]
        cells += [cell(found["by_tag"].get(tag, {}).get(share), 3) for tag, share, _ in tags]
        print("| " + " | ".join([label, *cells, cell(meetings, 2)]) + " |")
    print("\n" + "; ".join(remarks) + ".\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--linkage", required=True, type=pathlib.Path, help="the release binary")
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--only", default=",".join(TITLES), help="data sets, comma-separated")
    args = parser.parse_args()
    for name in args.only.split(","):
        work = args.work / name
        if name == "sample":
            data = french(args.data / "sample", work)
        elif name == "synth":
            folder = args.work / f"synth-{SYNTH_PERSONS}-{SYNTH_SEED}"
            if not (folder / "truth/truth.csv").exists():
                run([args.linkage, "synth", "--persons", SYNTH_PERSONS, "--seed", SYNTH_SEED, "--out", folder])
            data = french(folder, work)
        else:
            files = ["dataset4a.csv", "dataset4b.csv"] if name.startswith("febrl4") else ["dataset3.csv"]
            fields = FEBRL_FIELDS + (["address_1"] if name.endswith("address") else [])
            data = febrl([args.data / "febrl" / file for file in files], work, fields)
        table(name, data, *measure(args.linkage, name, data))


if __name__ == "__main__":
    main()
