//! A typed agreement as TOML, in the schema's order: what programs write, and what the parser reads back unchanged.

use serde_json::Value as Json;
use toml_edit::Value;

use crate::model::Agreement;
use crate::schema::{self, Key, Shape};

impl Agreement {
    /// The agreement as a TOML file, under a short French header. Parsing it gives the same agreement, and two equal
    /// agreements give the same hash. A value that breaks a rule of the agreement is written as it is; parsing says so.
    pub fn to_toml(&self) -> String {
        let mut out = String::from(
            "# Convention de rapprochement, écrite par le logiciel. Toute modification change son empreinte et annule les signatures.\n\
             # Pour la vérifier : linkage agreement check FICHIER\n\n",
        );
        // An agreement holds text, whole numbers and truth values only, all of which JSON takes.
        let root = serde_json::to_value(self).unwrap_or(Json::Null);
        if let Shape::Table(keys) = &schema::AGREEMENT {
            table(&root, keys, "", &mut out);
        }
        out
    }
}

/// Values first, then tables: TOML gives a value after a header to that header's table.
fn table(value: &Json, keys: &[Key], path: &str, out: &mut String) {
    for key in keys {
        if let Some(entry) = value.get(key.name)
            && !is_table(&key.shape, entry)
        {
            out.push_str(&format!("{} = {}\n", key.name, inline(entry)));
        }
    }
    for key in keys {
        let Some(entry) = value.get(key.name).filter(|e| is_table(&key.shape, e)) else { continue };
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        match &key.shape {
            Shape::Table(keys) => {
                // A table that holds tables only needs no header of its own.
                if keys.iter().any(|k| entry.get(k.name).is_some_and(|e| !is_table(&k.shape, e))) {
                    out.push_str(&format!("\n[{path}]\n"));
                }
                table(entry, keys, &path, out);
            }
            Shape::List { of: Shape::Table(keys), .. } => {
                for element in entry.as_array().into_iter().flatten() {
                    out.push_str(&format!("\n[[{path}]]\n"));
                    table(element, keys, &path, out);
                }
            }
            _ => {}
        }
    }
}

/// Whether an entry takes a header of its own; an empty list of tables does not.
fn is_table(shape: &Shape, entry: &Json) -> bool {
    match shape {
        Shape::Table(_) => true,
        Shape::List { of: Shape::Table(_), .. } => entry.as_array().is_some_and(|list| !list.is_empty()),
        _ => false,
    }
}

fn inline(value: &Json) -> String {
    match value {
        Json::String(text) => Value::from(text.as_str()).to_string(),
        Json::Array(elements) => format!("[{}]", elements.iter().map(inline).collect::<Vec<_>>().join(", ")),
        // Only rules and the values of a map are inline tables, and `kind` comes first for the reader.
        Json::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| (key.as_str() != "kind", key.as_str()));
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(key, value)| format!("{} = {}", toml_edit::Key::new(key.as_str()), inline(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}
