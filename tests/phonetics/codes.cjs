// Writes codes.tsv: frequent French names with their codes by three published French algorithms.
//
// node codes.cjs FOLDER-OF-INSEE-TABLES > codes.tsv
//
// The names are public (INSEE, fichier des noms and fichier des prénoms, Licence Ouverte 2.0; NOTICE): the most frequent
// surnames and given names of one word, in upper case without accents. FONEM (Bazin and Cornec 1985), Phonex (Brouard 1999)
// and Sonnex (Vieux-Dubé) are those of the npm package talisman, at the version that package.json pins.
'use strict';
const fs = require('fs');
const path = require('path');
const zlib = require('zlib');
const oracles = ['fonem', 'phonex', 'sonnex'].map((name) => {
  const module = require(`talisman/phonetics/french/${name}`);
  return module.default || module;
});

const SURNAMES = 3500;
const GIVEN = 1500;

// Name to number of bearers, from a table with a header.
function table(file, nameColumn, countColumn) {
  const counts = new Map();
  const text = zlib.gunzipSync(fs.readFileSync(file)).toString('utf8');
  for (const line of text.split('\n').slice(1)) {
    const columns = line.split(';');
    if (columns.length <= countColumn) continue;
    const name = columns[nameColumn].normalize('NFD').replace(/\p{M}/gu, '').toUpperCase();
    if (!/^[A-Z]{3,}$/.test(name)) continue;
    counts.set(name, (counts.get(name) || 0) + Number(columns[countColumn]));
  }
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([name]) => name);
}

const folder = process.argv[2];
if (!folder) {
  console.error('usage: node codes.cjs FOLDER-OF-INSEE-TABLES > codes.tsv');
  process.exit(2);
}
const names = new Set([
  ...table(path.join(folder, 'noms.csv.gz'), 0, 1).slice(0, SURNAMES),
  ...table(path.join(folder, 'prenoms.csv.gz'), 1, 3).slice(0, GIVEN),
]);
for (const name of [...names].sort()) {
  console.log([name, ...oracles.map((code) => String(code(name)))].join('\t'));
}
