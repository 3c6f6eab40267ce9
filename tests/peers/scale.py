"""Time and memory of the broker alone, from 10^5 to 5x10^6 records: the table and the plot of docs/performance.md.

    cargo build --release -p linkage -p linkage-broker --examples --bins
    python3 tests/peers/scale.py --release target/release --work target/scale --out docs/performance.md

For each size a population from one seed (`linkage synth`), its five parties' canonical files encoded (`scale make`), linked in a
process of its own (`scale link`), and, at the largest size, 10,000 records added to the others (`scale increment`). Takes some 15
GB of disk in --work for the default sizes, and about half an hour on two cores. Standard library only.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import re
import shutil
import subprocess

PARTIES = ["ccas", "siao", "departement", "francetravail", "caf"]
MONTH = "2024-01"


def run(*command):
    done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)
    return done.stdout


def agreement(release, work):
    """The agreement that a trial of a small population of the same parties infers."""
    small = work / "small"
    run(release / "linkage", "synth", "--persons", 2000, "--months", 1, "--base-month", MONTH, "--out", small)
    inputs = []
    for party in PARTIES:
        inputs += ["--input", f"{party}={small / 'canonical' / f'{party}_{MONTH}.csv'}"]
    run(release / "linkage", "trial", *inputs, "--no-oprf", "--seed", 1, "--out", work / "trial")
    return work / "trial" / "agreement.toml"


def make(release, work, terms, persons, parties):
    folder, files = work / f"made-{persons}-{len(parties)}", work / f"synth-{persons}"
    if not files.is_dir():
        run(release / "linkage", "synth", "--persons", persons, "--months", 1, "--base-month", MONTH, "--seed", 5, "--out", files)
    if not folder.is_dir():
        inputs = [f"{party}={files / 'canonical' / f'{party}_{MONTH}.csv'}" for party in parties]
        run(release / "examples" / "scale", "make", terms, folder, *inputs)
    return folder


def link(release, terms, folder, memory):
    return json.loads(run(release / "examples" / "scale", "link", terms, folder, memory))


def group(number):
    return f"{number:,}"


def table(rows):
    head = "| records | parties | budget | pairs | from batches to pairs | from pairs to clusters | together | CPU | µs CPU a record | peak memory |"
    lines = [head, "|---|" * 1 + "---|" * 9]
    for r in rows:
        wall, cpu = r["compare_s"] + r["cluster_s"], r["compare_cpu_s"] + r["cluster_cpu_s"]
        lines.append(
            f"| {group(r['records'])} | {r['parties']} | {group(r['memory_mib'])} MiB | {group(r['pairs'])} | {r['compare_s']:.1f} s "
            f"| {r['cluster_s']:.1f} s | {wall:.1f} s | {cpu:.1f} s | {1e6 * cpu / r['records']:.1f} | {group(r['peak_mib'])} MiB |"
        )
    return "\n".join(lines)


def plot(rows, path):
    """Seconds of processor by records, both axes logarithmic, with a line of slope one."""
    width, height, left, bottom = 640, 420, 70, 50
    cpu = lambda r: r["compare_cpu_s"] + r["cluster_cpu_s"]
    x0, x1 = 5e4, 1.6e7
    y0, y1 = 0.3, 300
    x = lambda v: left + (width - left - 20) * math.log(v / x0) / math.log(x1 / x0)
    y = lambda v: height - bottom - (height - bottom - 20) * math.log(v / y0) / math.log(y1 / y0)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for value in [1e5, 1e6, 1e7]:
        out.append(f'<line x1="{x(value):.1f}" y1="20" x2="{x(value):.1f}" y2="{height - bottom}" stroke="#ddd"/>')
        out.append(f'<text x="{x(value):.1f}" y="{height - bottom + 18}" text-anchor="middle">{group(int(value))}</text>')
    for value in [1, 10, 100]:
        out.append(f'<line x1="{left}" y1="{y(value):.1f}" x2="{width - 20}" y2="{y(value):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value} s</text>')
    first = rows[0]
    slope = cpu(first) / first["records"]
    ends = (first["records"], rows[-1]["records"])
    points = " ".join(f"{x(v):.1f},{y(slope * v):.1f}" for v in ends)
    out.append(f'<polyline points="{points}" fill="none" stroke="#888" stroke-dasharray="6 4"/>')
    out.append(f'<text x="{x(ends[1]):.1f}" y="{y(slope * ends[1]) + 62:.1f}" fill="#555" text-anchor="middle">proportional to records</text>')
    points = " ".join(f"{x(r['records']):.1f},{y(cpu(r)):.1f}" for r in rows)
    out.append(f'<polyline points="{points}" fill="none" stroke="#14507a" stroke-width="2"/>')
    for r in rows:
        out.append(f'<circle cx="{x(r["records"]):.1f}" cy="{y(cpu(r)):.1f}" r="4" fill="#14507a"/>')
        out.append(f'<text x="{x(r["records"]):.1f}" y="{y(cpu(r)) - 10:.1f}" text-anchor="middle">{cpu(r):.1f} s</text>')
    out.append(f'<text x="{(left + width) / 2:.0f}" y="{height - 10}" text-anchor="middle">records of five parties</text>')
    out.append(f'<text x="16" y="{height / 2:.0f}" transform="rotate(-90 16 {height / 2:.0f})" text-anchor="middle">processor seconds, from batches to clusters</text>')
    out.append("</svg>")
    path.write_text("\n".join(out) + "\n")


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*:\s*(.*)", info)
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {name[1] if name else 'unknown processor'}, load {load:.1f} at the start, {datetime.date.today()}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--release", type=pathlib.Path, default=pathlib.Path("target/release"))
    arguments.add_argument("--work", type=pathlib.Path, default=pathlib.Path("target/scale"))
    arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/performance.md"))
    arguments.add_argument("--persons", type=int, nargs="+", default=[68_000, 204_000, 680_000, 1_360_000, 3_600_000])
    options = arguments.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    text, where = options.out.read_text(), machine()
    terms = agreement(options.release, options.work)

    largest = max(options.persons)
    two = make(options.release, options.work, terms, largest, ["departement", "francetravail"])
    pair = link(options.release, terms, two, 3072) | {"parties": 2}
    shutil.rmtree(two)
    rows = []
    for persons in sorted(options.persons):
        folder = make(options.release, options.work, terms, persons, PARTIES)
        rows.append(link(options.release, terms, folder, 8192) | {"parties": 5})
        if persons != largest:
            shutil.rmtree(folder)
    tight = link(options.release, terms, folder, 4096) | {"parties": 5}
    added = json.loads(run(options.release / "examples" / "scale", "increment", terms, folder))
    shutil.rmtree(folder)

    plot(rows, options.out.with_name("performance-broker.svg"))
    body = f"""`python3 tests/peers/scale.py --persons {" ".join(str(p) for p in sorted(options.persons))}`; {where}.

{table([pair, *rows, tight])}

![Processor time by number of records](performance-broker.svg)

Increment: {group(added["new"])} new records against {group(added["held"])} held, whose index, records, pairs and classifier are read back from
disk: {added["all_s"]:.1f} s, of which {added["loaded_s"]:.1f} s reading ({added["cpu_s"]:.1f} s CPU); {group(added["pairs"])} new pairs, clusters of
{group(added["touched"])} records made anew."""
    marked = re.sub(r"(<!-- broker: begin -->\n).*?(\n<!-- broker: end -->)", lambda m: m[1] + body + m[2], text, flags=re.S)
    options.out.write_text(marked)


if __name__ == "__main__":
    main()
