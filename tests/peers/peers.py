"""Peers and `linkage` on the same data, in turn, in one run; writes the tables of docs/performance.md.

    python3 tests/peers/peers.py --linkage target/release/linkage --out docs/performance.md

Compares with clkhash 0.18.3 (encoding), anonlink 0.15.3 (comparison) and Splink 5 (linkage in clear), each in a Python
environment that is made under target/peers on first use, and takes over what criterion measured (`--bench` measures it first).
Only text between the markers `<!-- NAME: begin -->` and `<!-- NAME: end -->` is replaced. Without `--out` the tables are printed.
Data are synthetic. Ratios say more than figures: both sides run under the same load. Python 3.11, standard library.
"""
import argparse
import csv
import datetime
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / "target/peers"
SECRET = "pas un vrai secret"
PERIOD = "2024-01"
THRESHOLD = "0.8"


# --- running -------------------------------------------------------------------------------------------------------

def environment(name):
    """The Python of an environment with the packages of requirements-NAME.txt."""
    folder = ENVIRONMENTS / name
    python, done = folder / "bin/python", folder / "installed"
    wanted = (HERE / f"requirements-{name}.txt").read_text()
    if not done.exists() or done.read_text() != wanted:
        print(f"installing {name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", HERE / f"requirements-{name}.txt"], check=True)
        done.write_text(wanted)
    return python


def run(*command):
    """Runs a command; its output and what it took: wall and CPU seconds, peak MiB."""
    start = time.perf_counter()
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # A thread for the other pipe: either may fill up.
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    output = process.stdout.read()
    reader.join()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{shlex.join(map(str, command))}\nfailed with {process.returncode}:\n{errors[0]}")
    took = {"wall": time.perf_counter() - start, "cpu": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024}
    return output, took


def best(measures):
    """The least of each figure over the rounds."""
    return {name: min(one[name] for one in measures) for name in ("wall", "cpu", "peak_mib")}


def peer(python, script, *arguments):
    """A peer's own figures, with the peak of its process."""
    output, _ = run(python, HERE / script, *arguments)
    return json.loads(output.splitlines()[-1])


# --- text ----------------------------------------------------------------------------------------------------------

def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def number(value):
    """Three digits that count, thousands apart."""
    if value < 999.5:
        return f"{value:.3g}"
    step = 10 ** (len(str(int(value))) - 3)
    return f"{round(value / step) * step:,}"


def times(value):
    return f"{number(value)} x"


def replaced(text, name, body):
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"the page has no markers for {name}")
    return pattern.sub(lambda _: f"{begin}\n{body}\n{end}", text)


def machine(linkage):
    """What was measured on, when and with what."""
    facts = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", facts, re.MULTILINE)
    flags = set((re.search(r"^(?:flags|Features)\s*:\s*(.*)$", facts, re.MULTILINE) or [None, ""])[1].split())
    known = [flag for flag in ("avx2", "avx512f", "avx512_vpopcntdq", "aes", "sha_ni", "neon") if flag in flags]
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / 2**20
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    version = run(linkage, "--version")[0].strip()
    return "\n".join([
        f"* {datetime.date.today()}, {version}{f', commit {commit}' if commit else ''}",
        f"* {os.cpu_count()} cores {model[1] if model else 'unknown'} ({', '.join(known)}), {memory:.0f} GiB of memory",
        f"* load when it began: {os.getloadavg()[0]:.2f} (others' work on the machine; 0 is idle)",
        f"* Python {sys.version.split()[0]}, " + ", ".join(
            line for name in ("clk", "splink") for line in (HERE / f"requirements-{name}.txt").read_text().split("\n")
            if "==" in line
        ),
        f"* command: `{shlex.join(['python3', *command_line()])}`",
    ])


def command_line():
    """The command as it was given, the script by its place in the repository."""
    return ["tests/peers/peers.py", *sys.argv[1:]]


# --- linkage in clear ----------------------------------------------------------------------------------------------

def generated(linkage, persons, work):
    """Two parties' files and the truth."""
    folder = work / "population"
    output, _ = run(linkage, "synth", "--persons", persons, "--parties", 2, "--months", 1, "--seed", 11, "--out", folder, "--json")
    files = json.loads(output)["files"]
    inputs = [(f["party"], folder / "canonical" / pathlib.Path(f["raw"]).name) for f in files]
    return inputs, folder / "truth/truth.csv", [f["records"] for f in files]


def linked(linkage, data, rounds, work):
    inputs, truth, records = data
    python = environment("splink")
    theirs, ours = [], []
    links = {"Splink": work / "splink.csv", "linkage": work / "trial/links.csv"}
    parties = [f"{party}={path}" for party, path in inputs]
    for _ in range(rounds):
        theirs.append(peer(python, "splink_peer.py", *parties, links["Splink"]))
        given = [part for one in parties for part in ("--input", one)]
        ours.append(run(linkage, "trial", "--no-oprf", "--seed", 7, "--period", PERIOD, *given, "--out", work / "trial", "--json")[1])
    rows = []
    took = {"Splink": best(theirs), "linkage": best(ours)}
    names = {"Splink": "Splink 5, in clear, strict blocking", "linkage": "`linkage trial --no-oprf`"}
    for name, one in took.items():
        judged = json.loads(run(linkage, "evaluate", "--links", links[name], "--truth", truth, "--period", PERIOD)[0])["cross_party"]
        rows.append([
            names[name], number(one["cpu"]), number(one["wall"]), number(one["peak_mib"]),
            f"{judged['precision'] or 0:.4f}", f"{judged['recall'] or 0:.4f}",
        ])
    rows.append(["ratio, linkage to Splink", *(times(took["linkage"][k] / took["Splink"][k]) for k in ("cpu", "wall", "peak_mib")), "", ""])
    header = ["", "CPU s", "wall s", "peak MiB", "precision", "recall"]
    return f"{records[0]:,} and {records[1]:,} records, {rounds} rounds in turn, least of each.\n\n" + table(header, rows)


# --- clkhash and anonlink ------------------------------------------------------------------------------------------

def schema():
    def feature(name, format, comparison, strategy, **more):
        hashing = {"comparison": comparison, "strategy": strategy, "hash": {"type": "blakeHash"}, **more}
        return {"identifier": name, "format": format, "hashing": hashing}

    bigrams = {"type": "ngram", "n": 2}
    return {"version": 3, "clkConfig": {"l": 1024, "kdf": {"type": "HKDF"}}, "features": [
        feature("nom", {"type": "string"}, bigrams, {"bitsPerFeature": 200}),
        feature("prenom", {"type": "string"}, bigrams, {"bitsPerFeature": 200}),
        feature("naissance", {"type": "date", "format": "%Y-%m-%d"}, {"type": "ngram", "n": 1, "positional": True},
                {"bitsPerFeature": 200}, missingValue={"sentinel": ""}),
        feature("sexe", {"type": "string"}, {"type": "exact"}, {"bitsPerToken": 30}),
    ]}


def columns(source, to):
    """A party's file in the schema's columns: names in capitals, dates that are whole. How many rows."""
    def date(text):
        try:
            return datetime.date.fromisoformat(text).isoformat() if len(text) == 10 else ""
        except ValueError:
            return ""

    with open(source, encoding="utf-8-sig", newline="") as rows, open(to, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["nom", "prenom", "naissance", "sexe"])
        count = 0
        for count, row in enumerate(csv.DictReader(rows), 1):
            given = re.split(r"[ |,]", row["prenoms"].strip())[0]
            writer.writerow([row["nom_naissance"].strip().upper(), given.upper(), date(row["date_naissance"].strip()), row["sexe"].strip()])
    return count


def encoded(linkage, data, rounds, work):
    """Both parties' files to filters by both; the table and our files of filters."""
    python = environment("clk")
    (work / "schema.json").write_text(json.dumps(schema()))
    secret = work / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    theirs, ours, one_core, filters, count = [], [], [], [], 0
    for at, (_, path) in enumerate(data[0]):
        rows, made, expected = work / f"rows{at}.csv", work / f"clk{at}.json", work / f"clkhash{at}.json"
        count += columns(path, rows)
        arguments = ["clk", "encode", "--schema", work / "schema.json", "--input", rows, "--secret-file", secret, "--out", made]
        takes = {"theirs": [], "ours": [], "one": []}
        for _ in range(rounds):
            takes["theirs"].append(peer(python, "clk_peer.py", "encode", work / "schema.json", rows, secret, expected))
            takes["one"].append(run(linkage, *arguments, "--threads", 1)[1])
            takes["ours"].append(run(linkage, *arguments)[1])
        if json.loads(made.read_text()) != json.loads(expected.read_text()):
            sys.exit("the filters of clkhash and linkage differ")
        theirs.append(best(takes["theirs"]))
        ours.append(best(takes["ours"]))
        one_core.append(best(takes["one"]))
        filters.append(made)
    total = lambda takes, what: sum(take[what] for take in takes)
    base = count / total(theirs, "cpu")
    rows = []
    for name, takes in (("clkhash 0.18.3", theirs), ("`linkage clk encode --threads 1`", one_core), ("`linkage clk encode`", ours)):
        speed = count / total(takes, "cpu")
        rows.append([name, number(speed), times(speed / base), number(count / total(takes, "wall")), number(max(t["peak_mib"] for t in takes))])
    header = ["", "records/s of CPU", "x clkhash", "records/s of wall", "peak MiB"]
    return f"{count:,} records, 1,024 bits, four fields, BLAKE2b; all filters are equal.\n\n" + table(header, rows), filters


def cut(path, count, to):
    filters = json.loads(path.read_text())["clks"][:count]
    to.write_text(json.dumps({"clks": filters}))
    return len(filters)


def compared(linkage, filters, most, rounds, work):
    python = environment("clk")
    sides = [work / "a.json", work / "b.json"]
    pairs = 1
    for path, to in zip(filters, sides):
        pairs *= cut(path, most, to)
    kernels = [k["name"] for k in json.loads(run(linkage, "doctor", "--json")[0])["kernels"] if k["runs"]]
    arguments = ["clk", "compare", *sides, "--threshold", THRESHOLD, "--skip-empty", "--json", "--out", work / "ours.csv"]
    theirs, ours = [], {}
    for _ in range(rounds):
        theirs.append(peer(python, "clk_peer.py", "compare", *sides, THRESHOLD, 1, work / "theirs.csv"))
        for kernel in kernels:
            for threads in [1] if kernel != kernels[0] else [1, os.cpu_count()]:
                output, took = run(linkage, *arguments, "--kernel", kernel, "--threads", threads)
                facts = json.loads(output)
                held = ours.setdefault((kernel, threads), {"wall": float("inf"), "peak_mib": took["peak_mib"]})
                held["wall"] = min(held["wall"], facts["seconds"])
                if (work / "ours.csv").read_text() != (work / "theirs.csv").read_text():
                    sys.exit(f"anonlink and {kernel} find other pairs")
    base = min(one["wall"] for one in theirs)
    rows = [["anonlink 0.15.3", 1, number(pairs / base / 1e6), times(1), number(theirs[0]["peak_mib"])]]
    for (kernel, threads), one in ours.items():
        rows.append([kernel, threads, number(pairs / one["wall"] / 1e6), times(base / one["wall"]), number(one["peak_mib"])])
    found = theirs[0]["pairs"]
    header = ["", "threads", "M pairs/s", "x anonlink", "peak MiB"]
    return f"{pairs:,} pairs, threshold {THRESHOLD}; {found:,} pairs found, the same with the same scores by all.\n\n" + table(header, rows)


# --- criterion -----------------------------------------------------------------------------------------------------

# Groups of benches by section; what fits none goes to `benches`.
SECTIONS = {
    "stage-1": r"stage 1|derive|normalis|encoding|key|plan|surprisal",
    "oprf": r"oprf|voprf",
    "stage-2": r"stage 2|upload|\d+ records|archive",
    "clk-benches": r"compare/|encode/|diffusion",
}


def measure_benches():
    for source in sorted(ROOT.glob("*/*/benches/*.rs")):
        package = tomllib.loads((source.parents[1] / "Cargo.toml").read_text())["package"]["name"]
        subprocess.run(["cargo", "bench", "-p", package, "--bench", source.stem, "--", "--quick"], cwd=ROOT, check=True)


def benches(folder):
    """Tables of criterion's medians, by section."""
    rows = {}
    for path in sorted(folder.glob("**/new/benchmark.json")):
        about = json.loads(path.read_text())
        nanoseconds = json.loads(path.with_name("estimates.json").read_text())["median"]["point_estimate"]
        name = about["group_id"]
        section = next((s for s, pattern in SECTIONS.items() if re.match(pattern, name, re.IGNORECASE)), "benches")
        elements = (about.get("throughput") or {}).get("Elements")
        each = nanoseconds / elements if elements else nanoseconds
        rows.setdefault(section, []).append([about["full_id"], duration(nanoseconds), f"{elements:,}" if elements else "", number(1e9 / each)])
    return {section: table(["bench", "time", "elements", "per second"], found) for section, found in rows.items()}


def duration(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


# --- the run -------------------------------------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--linkage", type=pathlib.Path, default=ROOT / "target/release/linkage", help="the binary")
    parser.add_argument("--out", type=pathlib.Path, help="page with the markers; printed without")
    parser.add_argument("--persons", type=int, default=250_000, help="synthetic persons; a party holds about a third of them")
    parser.add_argument("--filters", type=int, default=20_000, help="most filters of each side in the comparison")
    parser.add_argument("--rounds", type=int, default=3, help="times that each runs, in turn")
    parser.add_argument("--only", nargs="*", choices=["link", "clk", "benches"], default=["link", "clk", "benches"])
    parser.add_argument("--bench", action="store_true", help="run the criterion benches first (cargo bench, --quick)")
    parser.add_argument("--criterion", type=pathlib.Path, default=ROOT / "target/criterion", help="criterion's folder")
    args = parser.parse_args()
    linkage = args.linkage.resolve()
    made = {"machine": machine(linkage)}
    ENVIRONMENTS.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ENVIRONMENTS.parent) as work:
        work = pathlib.Path(work)
        if "benches" in args.only:
            if args.bench:
                measure_benches()
            made |= benches(args.criterion)
        if {"link", "clk"} & set(args.only):
            data = generated(linkage, args.persons, work)
        if "clk" in args.only:
            made["clk-encode"], filters = encoded(linkage, data, args.rounds, work)
            made["clk-compare"] = compared(linkage, filters, args.filters, args.rounds, work)
        if "link" in args.only:
            made["link"] = linked(linkage, data, args.rounds, work)
    if not args.out:
        print("\n\n".join(f"## {name}\n\n{body}" for name, body in made.items()))
        return
    text = args.out.read_text()
    for name, body in made.items():
        text = replaced(text, name, body)
    whole = args.out.with_suffix(".new")
    whole.write_text(text)
    whole.replace(args.out)


if __name__ == "__main__":
    main()
