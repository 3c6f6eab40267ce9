#!/usr/bin/env python3
"""Runs the Python examples of a page and holds what they print to what the page says.

    python3 tests/python/examples.py docs/tables.md FOLDER [--write]

Each block ```python that is followed by a block ```text is run by itself in FOLDER, which `small_tables` has filled, and must
print that text. With --write the page takes what was printed. Exit code 1 when anything differs; a page without
examples is a mistake too. The libraries are those of tests/python/requirements.txt, on PYTHONPATH.
"""

import difflib
import pathlib
import re
import subprocess
import sys

EXAMPLE = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```\n", re.DOTALL)


def run(code, folder):
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        sys.exit(f"an example failed:\n{code}\n{done.stderr}")
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


def main(page, folder, write):
    text = page.read_text(encoding="utf-8")
    examples = EXAMPLE.findall(text)
    alone = text.count("```python\n") - len(examples)
    if not examples or alone:
        sys.exit(f"{page}: {len(examples)} examples, {alone} without the text that they print")
    differ = 0
    for code, expected in examples:
        printed = run(code, folder)
        if printed == expected:
            continue
        differ += 1
        text = text.replace(f"```python\n{code}```\n\n```text\n{expected}```\n", f"```python\n{code}```\n\n```text\n{printed}```\n")
        sys.stdout.writelines(difflib.unified_diff(expected.splitlines(True), printed.splitlines(True), str(page), "printed"))
    if write:
        page.write_text(text, encoding="utf-8")
        return
    if differ:
        sys.exit(f"{page}: {differ} of {len(examples)} examples print something else")
    print(f"{page}: {len(examples)} examples print what the page says")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["--write"]):
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), len(sys.argv) == 4)
