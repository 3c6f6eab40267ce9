"""Splink in clear, run by peers.py in a Python environment of its own. Prints one line of JSON.

    splink_peer.py PARTY=FIRST.csv PARTY=SECOND.csv LINKS.csv

Blocking is strict: a pair is looked at when it agrees on two of name, first given name and date of birth (of the third the year).
Cleaning, blocking and comparison are DuckDB's, with as many threads as it likes; the model is trained without labels.
Links are clusters at a match probability of 0.99. The quality at any cost is compared in tests/baselines instead.
"""
import json
import os
import resource
import sys
import time

import duckdb
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

PROBABILITY = 0.99

CLEAN = """
select row_number() over () + {first} as unique_id, '{party}' as party, local_id,
  nullif(regexp_replace(upper(strip_accents(coalesce(nullif(nom_naissance, ''), nom_usage))), '[^A-Z]', '', 'g'), '') as name,
  nullif(regexp_extract(upper(strip_accents(prenoms)), '[A-Z]+'), '') as given,
  case when regexp_matches(date_naissance, '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$') then date_naissance end as dob,
  substr(date_naissance, 1, 4) as year, nullif(sexe, '') as sex, nullif(commune_residence, '') as residence
from read_csv('{path}', header = true, all_varchar = true)
"""


def main(first, second, out):
    start = time.perf_counter()
    connection = duckdb.connect()
    api = DuckDBAPI(connection)
    tables, offset = [], 0
    for party, path in (one.split("=", 1) for one in (first, second)):
        table = connection.execute(CLEAN.format(first=offset, party=party, path=path)).to_arrow_table()
        offset += table.num_rows
        tables.append(api.register(table, dataset_display_name=party))
    settings = SettingsCreator(
        link_type="link_only",
        comparisons=[
            cl.JaroWinklerAtThresholds("name", [0.92, 0.8]).configure(term_frequency_adjustments=True),
            cl.JaroWinklerAtThresholds("given", [0.92, 0.8]).configure(term_frequency_adjustments=True),
            cl.DamerauLevenshteinAtThresholds("dob", [1, 2]),
            cl.ExactMatch("sex"),
            cl.ExactMatch("residence"),
        ],
        blocking_rules_to_generate_predictions=[
            block_on("name", "dob"),
            block_on("given", "dob"),
            block_on("name", "given", "year"),
        ],
        retain_matching_columns=False,
        retain_intermediate_calculation_columns=False,
    )
    linker = Linker(tables, settings, log_level=None)
    linker.training.estimate_probability_two_random_records_match([block_on("name", "given", "dob")], recall=0.7)
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1, min_count_per_level=None)
    for rule in (block_on("dob"), block_on("name", "given")):
        linker.training.estimate_parameters_using_expectation_maximisation(rule, estimate_without_term_frequencies=True)
    predicted = linker.inference.predict(threshold_match_probability=PROBABILITY)
    pairs = connection.execute(f"select count(*) from {predicted.physical_name}").fetchall()[0][0]
    clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(predicted, PROBABILITY)
    wall = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    records = {}
    for table in tables:
        for row in connection.execute(f"select unique_id, party, local_id from {table.physical_name}").fetchall():
            records[row[0]] = row[1:]
    with open(out, "w", encoding="utf-8") as file:
        file.write("person,party,local_id,match_class,probability\n")
        found = connection.execute(f"select cluster_id, unique_id from {clusters.physical_name}").fetchall()
        for person, record in found:
            party, local_id = records[record]
            file.write(f"{person},{party},{local_id},certain,{PROBABILITY}\n")
    print(json.dumps({
        "wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024, "records": offset, "pairs": pairs,
    }), flush=True)


main(*sys.argv[1:])
os._exit(0)
