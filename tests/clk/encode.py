"""Filters by clkhash, for linkage-core/clk-encode/tests/clkhash.rs.

    venv/bin/python tests/clk/encode.py > tests/clk/encode.json

Persons are made up. Each case has a schema, a secret, rows and the filters that clkhash makes of them; a row that clkhash
refuses has null. Each case uses one setting that the others do not.
"""
import base64
import json

from clkhash import clk, schema
from clkhash.serialization import serialize_bitarray
from clkhash.validate_data import EntryError

SECRET = "pas un vrai secret"


def feature(name, format, comparison, strategy, **more):
    return {"identifier": name, "format": format, "hashing": {"comparison": comparison, "strategy": strategy, **more}}


def document(features, l=1024, kdf=None, **config):
    return {"version": 3, "clkConfig": {"l": l, "kdf": kdf or {"type": "HKDF"}, **config}, "features": features}


TEXT = {"type": "string"}
NGRAM = {"type": "ngram", "n": 2}
POSITIONAL = {"type": "ngram", "n": 1, "positional": True}
TOKEN = {"bitsPerToken": 12}
FEATURE = {"bitsPerFeature": 150}
DOUBLE = {"type": "doubleHash"}
BLAKE = {"type": "blakeHash"}
EXACT = {"type": "exact"}
b64 = lambda data: base64.b64encode(data).decode()


def numeric(distance, resolution, **more):
    return {"type": "numeric", "thresholdDistance": distance, "resolution": resolution, **more}


def person(hash, strategy, **config):
    return document([
        {"identifier": "id", "ignored": True},
        feature("nom", TEXT, NGRAM, strategy, hash=hash),
        feature("prenom", {"type": "string", "encoding": "utf-8", "minLength": 1, "maxLength": 12, "case": "upper"},
                {"type": "ngram", "n": 3}, strategy, hash=hash, missingValue={"sentinel": "NC", "replaceWith": "INCONNU"}),
        feature("naissance", {"type": "date", "format": "%d/%m/%Y"}, POSITIONAL, strategy, hash=hash,
                missingValue={"sentinel": ""}),
        feature("sexe", {"type": "enum", "values": ["1", "2"]}, EXACT, strategy, hash=hash),
    ], **config)


PERSONS = [
    ["1", "DUVAL-MARTIN", "ZOÉ", "03/11/1987", "2"],
    ["2", "N'DIAYE", "MAMADOU", "29/02/2000", "1"],
    ["3", "", "NC", "", "1"],
    ["4", "L", "A", "1/2/0987", "2"],
    ["5", "œuvré 𝔛", "ÉLOÏSE", "31/12/1900", "2"],
    ["6", "DUVAL", "Zoé", "03/11/1987", "2"],
    ["7", "DUVAL", "ZOÉ", "29/02/1999", "2"],
    ["8", "DUVAL", "ZOÉ", "03/11/1987", "3"],
    ["9", "DUVAL", "ABCDEFGHIJKLM", "03/11/1987", "1"],
    ["10", "DUVAL", "", "03/11/1987", "1"],
]
AGES = [[t] for t in ["25", "+25", " 26 ", "-3", "-0", "0012", "1_000", "", "2.5", "x", "99999999999999999999999", "131", "-11"]]
FLOATS = [[t] for t in ["2.5", "2.4499", "-7.05", "1e3", "21", "0.0", "-0.5", "1e-9", ".5", "12345.675", " 3.25 ", "nan", "mille"]]
WORDS = [[f"MOT{i}"] for i in range(60)]

CASES = [
    ("blake, bitsPerFeature", person(BLAKE, FEATURE), PERSONS),
    ("blake, bitsPerToken", person(BLAKE, TOKEN), PERSONS),
    ("blake, more than 32 bits a token", person(BLAKE, {"bitsPerToken": 70}), PERSONS[:3]),
    ("double, bitsPerFeature", person(DOUBLE, FEATURE), PERSONS),
    ("double, bitsPerToken", person(DOUBLE, TOKEN), PERSONS),
    ("double, singular", document([feature("n", TEXT, EXACT, {"bitsPerToken": 3}, hash=DOUBLE)], l=7), WORDS),
    ("double, not singular",
     document([feature("n", TEXT, EXACT, {"bitsPerToken": 3}, hash={**DOUBLE, "prevent_singularity": True})], l=7), WORDS),
    ("folded once", person(BLAKE, FEATURE, xor_folds=1), PERSONS),
    ("folded thrice to an odd length", person(DOUBLE, FEATURE, l=99, xor_folds=3), PERSONS),
    ("salt and info", person(BLAKE, FEATURE, kdf={"type": "HKDF", "salt": b64(b"sel"), "info": b64(b"essai")}), PERSONS[:3]),
    ("SHA512, short keys", person(BLAKE, FEATURE, kdf={"type": "HKDF", "hash": "SHA512", "keySize": 17}), PERSONS[:3]),
    ("SHA256, long keys", person(DOUBLE, FEATURE, kdf={"type": "HKDF", "hash": "SHA256", "keySize": 200}), PERSONS[:3]),
    ("default hash", document([feature("nom", TEXT, NGRAM, FEATURE)]), [["DUVAL"], ["É"]]),
    ("integer", document([feature("age", {"type": "integer", "minimum": -10, "maximum": 1000}, NGRAM, TOKEN)]), AGES),
    ("numeric integer", document([feature("age", {"type": "integer"}, numeric(8, 2), TOKEN)]), AGES),
    ("numeric, odd interval", document([feature("age", {"type": "integer"}, numeric(7, 3), FEATURE)]), AGES),
    ("numeric, digits", document([feature("v", TEXT, numeric(0.75, 4, fractional_precision=2), TOKEN)]), FLOATS),
    ("numeric, cut", document([feature("v", TEXT, numeric(3, 1), TOKEN)]), FLOATS),
    ("pattern", document([feature("cp", {"type": "string", "pattern": r"\d{5}|2[AB]\d{3}"}, POSITIONAL, TOKEN)]),
     [["75013"], ["2A004"], ["7501"], ["750133"]]),
    ("case", document([feature("n", {"type": "string", "case": "lower"}, NGRAM, TOKEN)]), [["straße"], ["Straße"], ["12"]]),
    ("year of two digits", document([feature("d", {"type": "date", "format": "%d %m %y"}, NGRAM, TOKEN)]),
     [["01 02 68"], ["01 02 69"], ["1  2  07"], ["01-02-07"]]),
    ("no separators", document([feature("d", {"type": "date", "format": "%Y%m%d"}, EXACT, TOKEN)]),
     [["20010203"], ["2001112"], ["200111"], ["20011302"], ["00000101"]]),
] + [
    (encoding, document([feature("n", {"type": "string", "encoding": encoding}, NGRAM, TOKEN)]), [["Zoé"], ["zoe"], ["𝔛"]])
    for encoding in ("ascii", "utf-8", "utf-16", "utf-32")
]


def filters(loaded, rows):
    made = []
    for row in rows:
        try:
            made.append(serialize_bitarray(clk.generate_clks([row], loaded, SECRET)[0]))
        except (EntryError, ValueError, OverflowError):
            made.append(None)
    return made


print(json.dumps([
    {"name": name, "schema": text, "secret": SECRET, "rows": rows, "clks": filters(schema.from_json_dict(json.loads(json.dumps(text))), rows)}
    for name, text, rows in CASES
], ensure_ascii=False, indent=None, separators=(",", ":")))
