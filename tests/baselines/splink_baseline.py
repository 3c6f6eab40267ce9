"""Splink (Fellegi-Sunter in clear, https://moj-analytical-services.github.io/splink/) on the files that Trait d'union links.

    python3 splink_baseline.py --input ccas=FILE ... --truth FILE --period 2024-01 --persons FILE --out FOLDER

The configuration is what an analyst who sees every name would write, with no label: seventeen blocking rules on clean
names and date parts, u by random sampling, m by expectation maximisation over two blockings, term frequencies on
names, birth place and residence. Only the thresholds called `truth` look at the truth: they are those of the best F1,
which no analyst could have chosen, so that they flatter Splink. 0.99 and 0.9 are match probabilities of its own model.

`--configuration standard` is what Splink's documentation has for a start: its ready-made comparisons on the same clean
columns and six blocking rules.

Two link sets at every threshold: the scored pairs as they are, and the connected components of these. Writes a link
file for each of the latter (for `linkage evaluate`) and prints `figures.json`. (Splink's single best links need more
than 10 GB for 14,785 records in five parties and are left out.)
"""

import argparse
import json
import math
import resource
import sys
import time

import duckdb
import pyarrow as pa
import splink
import splink.comparison_level_library as cll
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on
from splink.blocking_rule_library import CustomRule

import common

SEED = 7
# Pairs that u is counted on.
U_PAIRS = 5e6
# Pairs below this weight can't be links at any threshold looked at.
LOWEST_WEIGHT = -12.0


# --- comparisons ---------------------------------------------------------------------------------------------------

def level(condition, label, tf=None):
    """A level by an SQL condition; `tf`: the column whose term frequencies adjust it."""
    made = cll.CustomLevel(condition, label)
    return made.configure(tf_adjustment_column=tf, disable_tf_exact_match_detection=True) if tf else made


def null(condition):
    return cll.CustomLevel(condition, "missing").configure(is_null_level=True)


def best_similarity(left, right):
    """The best Jaro-Winkler similarity between any name of one list and any of the other."""
    inner = f"list_transform({right}, lambda y: jaro_winkler_similarity(x, y))"
    return f"list_max(list_transform({left}, lambda x: list_max({inner})))"


# Name in place of the given name and the reverse; names compared crosswise so that the usage name may be the one.
SWAPPED = (
    "(list_contains(names_l, given_r) and list_contains(names_r, given_l) and name_l <> name_r"
    " or list_contains(names_l, given1_r) and list_contains(names_r, given1_l) and name_l <> name_r)"
)


def french_comparisons():
    name_similarity = best_similarity("names_l", "names_r")
    surname = cl.CustomComparison(
        output_column_name="surname",
        comparison_levels=[
            null("name_l is null or name_r is null"),
            cll.ExactMatchLevel("name", term_frequency_adjustments=True),
            level("list_has_any(names_l, names_r)", "birth name is the other's usage name"),
            level(SWAPPED, "name and given name swapped"),
            level(f"{name_similarity} >= 0.95", "Jaro-Winkler >= .95"),
            level("list_has_any(name_words_l, name_words_r)", "a half of a double name"),
            level(f"{name_similarity} >= 0.9", "Jaro-Winkler >= .9"),
            level(f"{name_similarity} >= 0.8", "Jaro-Winkler >= .8"),
            level(f"{name_similarity} >= 0.7", "Jaro-Winkler >= .7"),
            cll.ElseLevel(),
        ],
    )
    first = "greatest(jaro_winkler_similarity(given_l, given_r), jaro_winkler_similarity(given1_l, given1_r))"
    given = cl.CustomComparison(
        output_column_name="given_name",
        comparison_levels=[
            # Swapped names count once, in the surname.
            null(f"given_l is null or given_r is null or {SWAPPED}"),
            cll.ExactMatchLevel("given", term_frequency_adjustments=True),
            cll.ExactMatchLevel("given1", term_frequency_adjustments=True),
            level("list_has_any(given_words_l, given_words_r)", "one given name of several"),
            level("replace(given_l, ' ', '') = replace(given_r, ' ', '')", "joined or cut"),
            level(f"{first} >= 0.95", "Jaro-Winkler >= .95"),
            level(f"{first} >= 0.9", "Jaro-Winkler >= .9"),
            level(f"{first} >= 0.8", "Jaro-Winkler >= .8"),
            level(f"{first} >= 0.7", "Jaro-Winkler >= .7"),
            cll.ElseLevel(),
        ],
    )
    default = "(date_default_l or date_default_r)"
    years_apart = "abs(cast(year_l as integer) - cast(year_r as integer))"
    date = cl.CustomComparison(
        output_column_name="date",
        comparison_levels=[
            null("year_l is null or year_r is null"),
            level("dob_l = dob_r and not date_default_l", "equal"),
            level("dob_l = dob_r", "equal default date"),
            level("(dob_l is null or dob_r is null) and year_l = year_r", "partial, same year"),
            level("dob_l is null or dob_r is null", "partial, other year"),
            level(f"{default} and year_l = year_r", "default on one side, same year"),
            level(f"{default} and {years_apart} <= 1", "default, year within one"),
            level(default, "default on one side, other year"),
            level("year_l = year_r and month_l = day_r and day_l = month_r", "day and month swapped"),
            level(f"month_l = month_r and day_l = day_r and {years_apart} = 1", "year off by one"),
            level("damerau_levenshtein(dob_l, dob_r) = 1", "Damerau-Levenshtein 1"),
            level("year_l = year_r and (month_l = month_r or day_l = day_r)", "day or month off"),
            level("month_l = month_r and day_l = day_r", "year off"),
            level("year_l = year_r", "same year"),
            cll.ElseLevel(),
        ],
    )
    sex = cl.ExactMatch("sex")
    birth_place = cl.CustomComparison(
        output_column_name="birth_place",
        comparison_levels=[
            null("(town_l is null or town_r is null) and (country_l is null or country_r is null)"),
            cll.ExactMatchLevel("town", term_frequency_adjustments=True),
            level("town_l is not null and town_r is not null and jaro_winkler_similarity(town_l, town_r) >= 0.92", "town close"),
            level("country_l = country_r and country_l <> 'FRANCE'", "country, not France", tf="country"),
            level("country_l = country_r and (town_l is null or town_r is null)", "France, town unknown"),
            cll.ElseLevel(),
        ],
    )
    residence = cl.CustomComparison(
        output_column_name="residence",
        comparison_levels=[
            null("residence_l is null or residence_r is null"),
            cll.ExactMatchLevel("residence", term_frequency_adjustments=True),
            level("substr(residence_l, 1, 2) = substr(residence_r, 1, 2)", "département"),
            cll.ElseLevel(),
        ],
    )
    return [surname, given, date, sex, birth_place, residence]


def standard_comparisons():
    """Splink's ready-made comparisons, as its documentation puts them together."""
    return [
        cl.NameComparison("name"),
        cl.NameComparison("given1"),
        cl.DateOfBirthComparison("dob", input_is_string=True),
        cl.ExactMatch("sex"),
        cl.ExactMatch("town").configure(term_frequency_adjustments=True),
        cl.ExactMatch("residence").configure(term_frequency_adjustments=True),
    ]


def febrl_comparisons(with_address):
    def name(column, other):
        swapped = "name_l = given_r and name_r = given_l and name_l <> name_r"
        missing = f"{column}_l is null or {column}_r is null"
        levels = [null(missing if column == "name" else f"{missing} or ({swapped})")]
        levels.append(cll.ExactMatchLevel(column, term_frequency_adjustments=True))
        if column == "name":
            levels.append(level(swapped, "swapped"))
        levels += [cll.JaroWinklerLevel(column, threshold) for threshold in (0.92, 0.85, 0.75)]
        return cl.CustomComparison(output_column_name=other, comparison_levels=levels + [cll.ElseLevel()])

    def text(column, thresholds):
        levels = [cll.NullLevel(column), cll.ExactMatchLevel(column, term_frequency_adjustments=True)]
        levels += [cll.JaroWinklerLevel(column, threshold) for threshold in thresholds]
        return cl.CustomComparison(output_column_name=f"by_{column}", comparison_levels=levels + [cll.ElseLevel()])

    def digits(column, distances):
        levels = [cll.NullLevel(column), cll.ExactMatchLevel(column)]
        levels += [cll.DamerauLevenshteinLevel(column, distance) for distance in distances]
        return cl.CustomComparison(output_column_name=f"by_{column}", comparison_levels=levels + [cll.ElseLevel()])

    comparisons = [name("name", "surname"), name("given", "given_name"), digits("dob", (1, 2))]
    comparisons += [text("suburb", (0.92, 0.8)), digits("postcode", (1, 2))]
    return comparisons + ([text("address", (0.92, 0.8))] if with_address else [])


# --- blocking ------------------------------------------------------------------------------------------------------

def french_blocking():
    year_month, year_day, month_day = ("year", "month"), ("year", "day"), ("month", "day")
    return [
        block_on("dob"),
        *(block_on("name", *part) for part in (year_month, year_day, month_day)),
        *(block_on("given1", *part, "substr(name, 1, 1)") for part in (year_month, year_day, month_day)),
        block_on("name", "given1"),
        block_on("name", "year", "residence"),
        block_on("given1", "year", "residence"),
        block_on("given1", "year", "substr(name, 1, 2)"),
        block_on("name", "year", "substr(given1, 1, 1)"),
        # Birth name against usage name, one half of a double name, one given name of several.
        block_on("name_words", "year", arrays_to_explode=["name_words"]),
        block_on("name_words", "month", "day", arrays_to_explode=["name_words"]),
        block_on("given_words", "year", "substr(name, 1, 3)", arrays_to_explode=["given_words"]),
        CustomRule("l.name = r.given1 and l.given1 = r.name"),
        CustomRule("l.year = r.year and l.month = r.day and l.day = r.month and substr(l.name, 1, 2) = substr(r.name, 1, 2)"),
    ]


def standard_blocking():
    return [
        block_on("name", "dob"),
        block_on("given1", "dob"),
        block_on("name", "given1"),
        block_on("name", "year", "month"),
        block_on("given1", "year", "residence"),
        block_on("dob", "residence"),
    ]


def febrl_blocking():
    return [
        block_on("dob"),
        block_on("name", "given"),
        block_on("postcode", "suburb"),
        block_on("name", "postcode"),
        block_on("given", "postcode"),
        block_on("name", "suburb"),
        block_on("given", "suburb"),
        block_on("name", "year"),
        block_on("given", "year", "month"),
        block_on("given", "month", "day"),
        block_on("name", "month", "day"),
        CustomRule("l.name = r.given and l.given = r.name"),
        block_on("substr(name, 1, 3)", "substr(given, 1, 3)"),
        block_on("postcode", "year"),
    ]


# --- the run -------------------------------------------------------------------------------------------------------

def configuration(kind, name, records):
    """Comparisons and blocking rules."""
    if kind == "febrl":
        return febrl_comparisons(any(r["address"] for r in records)), febrl_blocking()
    return (standard_comparisons(), standard_blocking()) if name == "standard" else (french_comparisons(), french_blocking())


def scored_pairs(kind, records, alone, comparisons, blocking):
    """All pairs that met, as (first record, second record, weight in bits), highest first, and the linker."""
    hidden = {"key_fields", "local_id"}
    columns = [c for c in records[0] if c not in hidden]
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    api = DuckDBAPI(connection)
    tables = []
    for party in dict.fromkeys(r["party"] for r in records):
        rows = [{"unique_id": n, **{c: r[c] for c in columns if c != "party"}} for n, r in enumerate(records) if r["party"] == party]
        tables.append(api.register(pa.Table.from_pylist(rows), dataset_display_name=party))
    settings = SettingsCreator(
        link_type="dedupe_only" if alone else "link_only",
        comparisons=comparisons,
        blocking_rules_to_generate_predictions=blocking,
        retain_matching_columns=False,
        max_iterations=60,
        em_convergence=1e-5,
    )
    linker = Linker(tables[0] if alone else tables, settings, log_level=None)
    given = "given1" if kind == "french" else "given"
    linker.training.estimate_probability_two_random_records_match([block_on("name", given, "dob")], recall=0.75)
    linker.training.estimate_u_using_random_sampling(max_pairs=U_PAIRS, seed=SEED, min_count_per_level=None)
    # Two blockings, so that each field is free in one of them.
    for rule in (block_on("dob"), block_on("name", given)):
        linker.training.estimate_parameters_using_expectation_maximisation(rule, estimate_without_term_frequencies=True)
    print("trained", file=sys.stderr)
    predicted = linker.inference.predict()
    print("scored", file=sys.stderr)
    table = predicted.physical_name
    met = connection.execute(f"select unique_id_l, unique_id_r from {table}").fetchall()
    pairs = connection.execute(
        f"select unique_id_l, unique_id_r, match_weight from {table} where match_weight > {LOWEST_WEIGHT} order by match_weight desc, 1, 2"
    ).fetchall()
    return pairs, met, linker


def best_on_truth(judge, pairs):
    """The weight from which on linking every pair gives the best F1."""
    best, weight, linked, correct = 0.0, 0.0, 0, 0
    for number, (a, b, w) in enumerate(pairs):
        linked += 1
        correct += judge.same(a, b)
        last_of_weight = number + 1 == len(pairs) or pairs[number + 1][2] != w
        f1 = 2 * correct / (linked + judge.true_pairs)
        if last_of_weight and f1 > best:
            best, weight = f1, w
    return weight


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.arguments(parser)
    parser.add_argument("--configuration", choices=["expert", "standard"], default="expert", help="of French files")
    args = parser.parse_args()
    kind, records, judge = common.prepared(args)
    start = time.process_time()
    pairs, met, linker = scored_pairs(kind, records, judge.alone, *configuration(kind, args.configuration, records))
    seconds = time.process_time() - start

    def above(weight):
        return [(a, b) for a, b, w in pairs if w >= weight]

    def joined(weight):
        return common.components(len(records), above(weight))

    chosen = {"0.99": bits(0.99), "0.9": bits(0.9)}
    result = {
        "splink": splink.__version__,
        "records": len(records),
        "met": judge.figures(met, by_tag=False) | {"per_record": 2 * sum(not judge.same(a, b) for a, b in met) / len(records)},
        "cpu_seconds": seconds,
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "variants": {},
    }
    best_weight = best_on_truth(judge, pairs)
    for label, weight in {"truth": best_weight, **chosen}.items():
        result["variants"][f"pairs {label}"] = {"weight": weight, **judge.figures(above(weight))}

    def f1(weight):
        return judge.figures(common.cluster_pairs(joined(weight)), by_tag=False)["f1"] or 0.0

    # Coarse, then in quarters of a bit.
    best = max(range(-6, 31, 2), key=f1)
    best = max((best + step / 4 for step in range(-7, 8)), key=f1)
    for label, weight in {"truth": best, **chosen}.items():
        clusters = joined(weight)
        common.write_links(args.out / f"clusters-{label}.csv", records, clusters)
        found = judge.figures(common.cluster_pairs(clusters))
        result["variants"][f"clusters {label}"] = {"weight": weight, "links": f"clusters-{label}.csv", **found}
    linker.misc.save_model_to_json(str(args.out / "model.json"), overwrite=True)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (args.out / "figures.json").write_text(text, encoding="utf-8")
    json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
    print()


def bits(probability):
    """A match probability as weight in bits."""
    return math.log2(probability / (1 - probability))


if __name__ == "__main__":
    main()
