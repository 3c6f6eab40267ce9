//! The linkage schema, version 3 (clkhash's `schemas/v3.json`), and what is refused of it.
//!
//! clkhash's master schema lets unknown keys through in some places; here they are refused everywhere, since a misspelt
//! option would be ignored in silence and two partners' filters would not meet. One trap of clkhash 0.18.3: the master schema
//! documents `xorFolds`, the code reads `xor_folds`; the former is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::format::{Encoding, Format};
use crate::tokens::Comparison;

/// Longest filter before folding, in bits.
const MAX_BITS: usize = 1 << 16;

/// Why a schema was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Not JSON, or a key or value that is not in version 3.
    #[error("schéma, ligne {line}, colonne {column} : {reason}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The reader's words; schemas hold no personal data.
        reason: String,
    },
    /// A version other than 3.
    #[error("version de schéma inconnue : {0} ; seule la version 3 est prise en charge")]
    Version(String),
    /// A setting of the filter or of the keys.
    #[error("schéma, clkConfig : {0}")]
    Config(&'static str),
    /// A setting of a feature.
    #[error("schéma, attribut « {feature} » : {reason}")]
    Feature {
        /// Its identifier.
        feature: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// A linkage schema that this crate can follow to the bit.
#[derive(Debug, Clone)]
pub struct Schema {
    pub(crate) bits: usize,
    pub(crate) folds: u32,
    pub(crate) kdf: Kdf,
    pub(crate) features: Vec<Feature>,
}

#[derive(Debug, Clone)]
pub(crate) struct Feature {
    pub(crate) name: String,
    /// Nothing for a column that is ignored.
    pub(crate) hashing: Option<Hashing>,
}

#[derive(Debug, Clone)]
pub(crate) struct Hashing {
    pub(crate) format: Format,
    pub(crate) encoding: Encoding,
    pub(crate) comparison: Comparison,
    pub(crate) strategy: Strategy,
    pub(crate) hash: Hash,
    pub(crate) missing: Option<Missing>,
}

#[derive(Debug, Clone)]
pub(crate) struct Kdf {
    pub(crate) sha512: bool,
    pub(crate) salt: Option<Vec<u8>>,
    pub(crate) info: Vec<u8>,
    pub(crate) key_size: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Hash {
    Double { prevent_singularity: bool },
    Blake,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) enum Strategy {
    #[serde(rename = "bitsPerToken")]
    Token(u32),
    #[serde(rename = "bitsPerFeature")]
    Feature(u32),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Missing {
    pub(crate) sentinel: String,
    pub(crate) replace_with: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "version")]
    _version: IgnoredAny,
    #[serde(rename = "clkConfig")]
    config: ConfigText,
    features: Vec<FeatureText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigText {
    l: usize,
    #[serde(default)]
    xor_folds: u32,
    kdf: KdfText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct KdfText {
    r#type: String,
    hash: Option<String>,
    salt: Option<String>,
    info: Option<String>,
    key_size: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureText {
    identifier: String,
    #[serde(default)]
    ignored: bool,
    #[serde(rename = "description")]
    _description: Option<String>,
    format: Option<crate::format::FormatText>,
    hashing: Option<HashingText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HashingText {
    hash: Option<HashText>,
    strategy: Strategy,
    comparison: Comparison,
    missing_value: Option<Missing>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HashText {
    r#type: String,
    prevent_singularity: Option<bool>,
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// When it is not of version 3, or asks for what cannot be followed to the bit.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let fault = |e: serde_json::Error| SchemaError::Json { line: e.line(), column: e.column(), reason: e.to_string() };
        let any: serde_json::Value = serde_json::from_str(text).map_err(fault)?;
        match any.get("version") {
            Some(version) if version.as_f64() == Some(3.0) => {}
            version => return Err(SchemaError::Version(version.map_or("absente".into(), ToString::to_string))),
        }
        if any.get("clkConfig").is_some_and(|config| config.get("xorFolds").is_some()) {
            return Err(SchemaError::Config("clkhash 0.18.3 ignore « xorFolds » ; écrivez « xor_folds »"));
        }
        let document: Document = serde_json::from_str(text).map_err(fault)?;
        let ConfigText { l: bits, xor_folds: folds, kdf } = document.config;
        if bits == 0 || folds > 16 || bits > MAX_BITS >> folds {
            return Err(SchemaError::Config("longueur nulle, ou plus de 65 536 bits avant repliement"));
        }
        let kdf = kdf_of(kdf)?;
        let long = bits << folds;
        let features: Vec<Feature> =
            document.features.into_iter().map(|text| feature(text, long, &kdf)).collect::<Result<_, _>>()?;
        if features.is_empty() {
            return Err(SchemaError::Config("aucun attribut"));
        }
        Ok(Self { bits, folds, kdf, features })
    }

    /// The columns of the file, in order, with those that are ignored.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.features.iter().map(|feature| feature.name.as_str())
    }

    /// Length of a filter in bits, after folding.
    pub fn bits(&self) -> usize {
        self.bits
    }
}

fn kdf_of(text: KdfText) -> Result<Kdf, SchemaError> {
    if text.r#type != "HKDF" {
        return Err(SchemaError::Config("« kdf » doit être HKDF"));
    }
    let sha512 = match text.hash.as_deref() {
        None | Some("SHA256") => false,
        Some("SHA512") => true,
        Some(_) => return Err(SchemaError::Config("« hash » de HKDF : SHA256 ou SHA512")),
    };
    let bytes = |text: Option<String>| {
        text.map(|text| STANDARD.decode(text))
            .transpose()
            .map_err(|_| SchemaError::Config("« salt » ou « info » : base64 attendu"))
    };
    let key_size = text.key_size.unwrap_or(64);
    if key_size == 0 {
        return Err(SchemaError::Config("« keySize » nul"));
    }
    Ok(Kdf { sha512, salt: bytes(text.salt)?, info: bytes(text.info)?.unwrap_or_default(), key_size })
}

fn feature(text: FeatureText, long: usize, kdf: &Kdf) -> Result<Feature, SchemaError> {
    let name = text.identifier;
    let refused = |reason| SchemaError::Feature { feature: name.clone(), reason };
    if text.ignored {
        return Ok(Feature { name, hashing: None });
    }
    let (Some(format), Some(hashing)) = (text.format, text.hashing) else {
        return Err(refused("« format » et « hashing » sont nécessaires"));
    };
    let hash = match hashing.hash.as_ref().map(|h| (h.r#type.as_str(), h.prevent_singularity)) {
        None | Some(("blakeHash", None)) => Hash::Blake,
        Some(("doubleHash", prevent)) => Hash::Double { prevent_singularity: prevent.unwrap_or(false) },
        Some(("blakeHash", Some(_))) => return Err(refused("« prevent_singularity » ne va qu'avec doubleHash")),
        Some(_) => return Err(refused("« hash » : doubleHash ou blakeHash")),
    };
    if matches!(hash, Hash::Blake) && !long.is_power_of_two() {
        return Err(refused("blakeHash demande une longueur de filtre puissance de deux"));
    }
    if matches!(hash, Hash::Blake) && kdf.key_size > 64 {
        return Err(refused("blakeHash demande une clé de 64 octets au plus"));
    }
    if matches!(hashing.strategy, Strategy::Token(0) | Strategy::Feature(0)) {
        return Err(refused("nombre de bits nul"));
    }
    if let Strategy::Token(most) | Strategy::Feature(most) = hashing.strategy
        && most > 100_000
    {
        return Err(refused("plus de 100 000 bits"));
    }
    hashing.comparison.check().map_err(refused)?;
    let (format, encoding) = format.check().map_err(refused)?;
    let hashing = Hashing {
        format,
        encoding,
        comparison: hashing.comparison,
        strategy: hashing.strategy,
        hash,
        missing: hashing.missing_value,
    };
    Ok(Feature { name, hashing: Some(hashing) })
}
