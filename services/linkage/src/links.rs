//! `links.csv`: one row per input record, for an operator who owns all the files (trial, demonstration).

use std::collections::HashMap;
use std::hash::Hash;
use std::io::Write as _;
use std::path::Path;

use linkage_common::fsx;

/// One input record and what became of it.
#[derive(Debug, Clone)]
pub struct Link<K> {
    /// Its person, under whatever name; renumbered on writing.
    pub person: K,
    /// Party.
    pub party: String,
    /// The party's own identifier.
    pub local_id: String,
    /// 0 single, 1 certain, 2 probable.
    pub match_class: u8,
    /// Ten-thousandths; 0 where the way of linking states none.
    pub probability: u16,
}

/// Writes `person,party,local_id,match_class,probability`, by party and local id, persons numbered in that order: the same
/// links give the same bytes whatever random names they had.
pub fn write_links<K: Eq + Hash + Clone>(path: &Path, links: &mut [Link<K>]) -> anyhow::Result<()> {
    links.sort_by(|a, b| (&a.party, &a.local_id).cmp(&(&b.party, &b.local_id)));
    let mut numbers: HashMap<K, usize> = HashMap::new();
    let mut out = Vec::new();
    writeln!(out, "person,party,local_id,match_class,probability")?;
    for link in links {
        let next = numbers.len() + 1;
        let person = *numbers.entry(link.person.clone()).or_insert(next);
        let class = match link.match_class {
            0 => "single",
            1 => "certain",
            _ => "probable",
        };
        let probability = if link.match_class == 0 || link.probability == 0 {
            String::new()
        } else {
            format!("{:.4}", f64::from(link.probability) / 10_000.0)
        };
        writeln!(out, "P{person:08},{},{},{class},{probability}", quoted(&link.party), quoted(&link.local_id))?;
    }
    fsx::write_atomic(path, &out)?;
    Ok(())
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}
