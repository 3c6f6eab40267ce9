//! Annexes from names, at the node of a block-scoped party: the clkhash filter by the agreement's schema, and today's two
//! hash keys. The partner that has nothing else makes its own with its own tools; both must start from the same texts:
//!
//! | field of the agreement | cell of the clkhash schema's column of that name |
//! |---|---|
//! | names, text | upper-case letters A-Z and digits, accents folded, one space between words |
//! | date of birth | `AAAA-MM-JJ`; empty unless complete |
//! | sex | `1`, `2` or empty |
//! | places, categories | as delivered, without spaces around |
//!
//! Hash keys are those of docs/hash-keys.md, all given names written together. Holds the partners' secrets while it lives.

use std::path::Path;

use linkage_agreement::model::IdentityField;
use linkage_agreement::{Agreement, AnnexPlaces, FieldKind};
use linkage_clk_encode::{Encoder, Schema};
use linkage_common::fsx;
use linkage_crypto::derive::RunKey;
use linkage_crypto::group::GroupKey;
use linkage_encoding::date;
use linkage_encoding::identity::Sex;
use linkage_encoding::text::plain_words;
use linkage_hash_keys::{GivenNames, Hashing, Values, texts};
use rand_core::Rng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::config::NodeConfig;
use crate::error::NodeError;

/// Bytes of a schema's file.
const SCHEMA_LIMIT: u64 = 1 << 20;
/// Bytes of the file of the clkhash secret.
const SECRET_LIMIT: u64 = 64 << 10;
/// The run that keyed hash keys are made for: they outlive runs, so none that can be opened.
const KEYED_RUN: &str = "cles";

/// Makes annexes of records with names.
pub(crate) struct AnnexMaker {
    places: AnnexPlaces,
    clk: Option<ClkMaker>,
    keys: Option<KeyMaker>,
    /// Distinguishes the secrets used, for the node alone.
    secrets: [u8; 32],
}

struct ClkMaker {
    encoder: Encoder,
    /// For each feature of the schema, the column and its kind; none for one that is ignored.
    cells: Vec<Option<(String, FieldKind)>>,
}

struct KeyMaker {
    columns: [Option<String>; 4],
    run: Option<RunKey>,
}

/// An annex, and why a part of it is absent.
pub(crate) struct Made {
    pub(crate) annex: Zeroizing<Vec<u8>>,
    pub(crate) remarks: Vec<String>,
}

impl AnnexMaker {
    /// Reads what the agreement's annexes are made by; none when it asks for none.
    ///
    /// # Errors
    /// What is missing in the configuration, or is not what the partners agreed on.
    pub(crate) fn load(config: &NodeConfig, agreement: &Agreement, hash: &[u8; 32]) -> Result<Option<Self>, NodeError> {
        let places = agreement.annex();
        if places.len == 0 {
            return Ok(None);
        }
        let mut secrets = Sha256::new();
        let clk = agreement.encoding.clk.as_ref().map(|_| ClkMaker::load(config, agreement, &mut secrets)).transpose()?;
        let keyed = agreement.encoding.hash_keys.as_ref().map(|keys| keys.keyed);
        let keys = keyed.map(|keyed| KeyMaker::load(config, agreement, hash, keyed, &mut secrets)).transpose()?;
        Ok(Some(Self { places, clk, keys, secrets: secrets.finalize().into() }))
    }

    /// What changes when a secret does; it enters keyed digests only.
    pub(crate) fn secrets(&self) -> &[u8; 32] {
        &self.secrets
    }

    /// The annex of one record; `value` gives what was delivered in a column.
    pub(crate) fn make<'v>(&self, value: impl Fn(&str) -> &'v str) -> Made {
        let mut annex = Zeroizing::new(vec![0; self.places.len]);
        let mut remarks = Vec::new();
        if let (Some(maker), Some(place)) = (&self.clk, &self.places.clk) {
            match maker.filter(&value) {
                Ok(filter) => put(&mut annex, place.start, &filter),
                Err(reason) => remarks.push(format!("filtre clkhash absent : {reason}")),
            }
        }
        if let (Some(maker), Some(place)) = (&self.keys, &self.places.hash_keys) {
            let [birth_name, usage_name, given_names, birth_date] =
                maker.columns.each_ref().map(|column| column.as_ref().map_or("", |column| value(column)));
            match texts(Values { birth_name, usage_name, given_names, birth_date }, GivenNames::All) {
                Ok(texts) => {
                    let keys = texts.keys(maker.run.as_ref().map_or(Hashing::Plain, Hashing::Keyed));
                    if let Some(primary) = keys.primary {
                        put(&mut annex, place.start, &primary);
                    }
                    put(&mut annex, place.start + 32, &keys.secondary);
                }
                Err(reason) => remarks.push(format!("clés de hachage absentes : {reason}")),
            }
        }
        Made { annex, remarks }
    }

    /// The annex of a decoy: each cell that of a record drawn, keys drawn. It looks like a person's and is nobody's, so that it
    /// joins no record but by the chance by which strangers do. `value` gives a column of the record of a number modulo their count.
    pub(crate) fn decoy<'v>(&self, value: impl Fn(u64, &str) -> &'v str) -> Zeroizing<Vec<u8>> {
        let mut annex = Zeroizing::new(vec![0; self.places.len]);
        if let (Some(maker), Some(place)) = (&self.clk, &self.places.clk)
            && let Ok(filter) = maker.filter(&|column: &str| value(linkage_common::rng().next_u64(), column))
        {
            put(&mut annex, place.start, &filter);
        }
        if let Some(keys) = self.places.hash_keys.clone().and_then(|place| annex.get_mut(place)) {
            linkage_common::rng().fill_bytes(keys);
        }
        annex
    }
}

fn put(annex: &mut [u8], at: usize, part: &[u8]) {
    annex.iter_mut().skip(at).zip(part).for_each(|(to, from)| *to = *from);
}

impl ClkMaker {
    fn load(config: &NodeConfig, agreement: &Agreement, secrets: &mut Sha256) -> Result<Self, NodeError> {
        let refused = |text: String| NodeError::Configuration(text);
        let Some(terms) = &agreement.encoding.clk else { return Err(refused("convention sans [encoding.clk]".to_owned())) };
        let path = config.clk_schema.as_deref().ok_or_else(|| {
            refused("la convention demande des filtres clkhash : indiquez le fichier du schéma par « clk_schema = \"CHEMIN\" » dans la configuration du nœud".to_owned())
        })?;
        let text = fsx::read_text(path, SCHEMA_LIMIT).map_err(|e| refused(format!("schéma clkhash : {e}")))?;
        let digest = hex::encode(Sha256::digest(&text));
        if digest != terms.schema_sha256 {
            return Err(refused(format!(
                "{} : ce schéma clkhash n'est pas celui de la convention : empreinte {digest} au lieu de {} ; demandez le fichier au coordonnateur",
                path.display(),
                terms.schema_sha256
            )));
        }
        let place = |error: &dyn std::fmt::Display| refused(format!("{} : {error}", path.display()));
        let schema = Schema::parse(&text).map_err(|e| place(&e))?;
        if schema.bits() != terms.bits as usize {
            return Err(place(&format!("filtres de {} bits, la convention en prévoit {}", schema.bits(), terms.bits)));
        }
        let cells = cells(&schema, &ignored(&text), &agreement.identity.field).map_err(|e| place(&e))?;
        let path = config.clk_secret.as_deref().ok_or_else(|| {
            refused("la convention demande des filtres clkhash : indiquez le fichier de leur secret par « clk_secret = \"CHEMIN\" » dans la configuration du nœud".to_owned())
        })?;
        let secret = read_secret(path)?;
        secrets.update(&*secret);
        let encoder = Encoder::new(schema, &secret).map_err(|e| refused(format!("schéma clkhash : {e}")))?;
        Ok(Self { encoder, cells })
    }

    fn filter<'v>(&self, value: &impl Fn(&str) -> &'v str) -> Result<Zeroizing<Vec<u8>>, String> {
        let cells: Vec<Zeroizing<String>> = self
            .cells
            .iter()
            .map(|of| of.as_ref().map_or_else(Zeroizing::default, |(column, kind)| cell(*kind, value(column))))
            .collect();
        let filter = Zeroizing::new(self.encoder.encode(cells.iter().map(|cell| cell.as_str())).map_err(|e| e.to_string())?);
        match filter.iter().map(|byte| byte.count_ones() as usize).sum::<usize>() {
            0 => Err("aucun bit à 1".to_owned()),
            ones if ones == 8 * filter.len() => Err("tous les bits à 1".to_owned()),
            _ => Ok(filter),
        }
    }
}

/// The clkhash secret: a file for its owner only, a line break at its end apart (as `linkage clk encode` reads it).
fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, NodeError> {
    let refused = |error: &dyn std::fmt::Display| NodeError::Configuration(format!("secret clkhash : {error}"));
    let bytes = fsx::read_private(path, SECRET_LIMIT).map_err(|e| refused(&e))?;
    let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.is_empty() {
        return Err(refused(&format!("{} : fichier vide", path.display())));
    }
    Ok(Zeroizing::new(secret.to_vec()))
}

/// Features that a schema ignores, by place. The schema has been read before.
fn ignored(text: &str) -> Vec<bool> {
    let document: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let features = document.get("features").and_then(|f| f.as_array()).into_iter().flatten();
    features.map(|feature| feature.get("ignored").and_then(serde_json::Value::as_bool).unwrap_or(false)).collect()
}

/// The identity column of each feature. A schema that asks for another column than the agreement's identity fields asks for
/// data that the partners did not agree to encode.
fn cells(schema: &Schema, ignored: &[bool], fields: &[IdentityField]) -> Result<Vec<Option<(String, FieldKind)>>, String> {
    let kind_of = |name: &str| {
        fields
            .iter()
            .find(|f| f.column == name || f.name_column.as_deref() == Some(name) || f.country_column.as_deref() == Some(name))
            .map(|field| field.kind)
    };
    schema
        .columns()
        .zip(ignored)
        .map(|(name, ignored)| match (ignored, kind_of(name)) {
            (true, _) => Ok(None),
            (false, Some(kind)) => Ok(Some((name.to_owned(), kind))),
            (false, None) => Err(format!(
                "l'attribut « {} » n'est pas un champ d'identité de la convention : reprenez les noms de colonnes de [[identity.field]]",
                name.chars().take(64).collect::<String>()
            )),
        })
        .collect()
}

/// A delivered value as the cell of a clkhash schema's column, by the table above.
pub fn cell(kind: FieldKind, value: &str) -> Zeroizing<String> {
    Zeroizing::new(match kind {
        FieldKind::BirthName | FieldKind::UsageName | FieldKind::GivenNames | FieldKind::Text => plain_words(value).join(" "),
        FieldKind::BirthDate => match date::parse(value, None) {
            Ok(Some(date::BirthDate { year, month: Some(month), day: Some(day), .. })) => {
                format!("{year:04}-{month:02}-{day:02}")
            }
            _ => String::new(),
        },
        FieldKind::Sex => match Sex::read(value) {
            Some(Sex::Man) => "1".to_owned(),
            Some(Sex::Woman) => "2".to_owned(),
            None => String::new(),
        },
        FieldKind::Place | FieldKind::Category => value.trim().to_owned(),
    })
}

impl KeyMaker {
    fn load(
        config: &NodeConfig,
        agreement: &Agreement,
        hash: &[u8; 32],
        keyed: bool,
        secrets: &mut Sha256,
    ) -> Result<Self, NodeError> {
        let column = |kind: FieldKind| agreement.identity.field.iter().find(|f| f.kind == kind).map(|f| f.column.clone());
        let columns = [FieldKind::BirthName, FieldKind::UsageName, FieldKind::GivenNames, FieldKind::BirthDate].map(column);
        let run = match (keyed, &config.hash_keys_key) {
            (false, _) => None,
            (true, Some(source)) => {
                let key = source
                    .read_key()
                    .map_err(|e| NodeError::Configuration(format!("clé des clés de hachage (hash_keys_key) : {e}")))?;
                secrets.update(key.as_slice());
                Some(GroupKey::from_bytes(&key).run_key(hash, KEYED_RUN))
            }
            (true, None) => {
                return Err(NodeError::Configuration(
                    "la convention demande des clés de hachage sous clé : indiquez la clé que partagent les partenaires par « hash_keys_key = { file = \"CHEMIN\" } » dans la configuration du nœud".to_owned(),
                ));
            }
        };
        Ok(Self { columns, run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_one_spelling() {
        let of = |kind, value| cell(kind, value).to_string();
        assert_eq!(of(FieldKind::BirthName, " Lefèvre-d'Ørmesson "), "LEFEVRE DORMESSON");
        assert_eq!(of(FieldKind::GivenNames, "marie,  anne"), "MARIE ANNE");
        for (delivered, written) in
            [("01/02/1980", "1980-02-01"), ("1980-02-01", "1980-02-01"), ("1980", ""), ("x", ""), ("", "")]
        {
            assert_eq!(of(FieldKind::BirthDate, delivered), written, "{delivered}");
        }
        assert_eq!([of(FieldKind::Sex, "F"), of(FieldKind::Sex, "1"), of(FieldKind::Sex, "9")], ["2", "1", ""]);
        assert_eq!(of(FieldKind::Category, " 34172 "), "34172");
    }
}
