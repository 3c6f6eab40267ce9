//! The mapping of one party's columns to the canonical ones: a TOML file that is proposed once and confirmed by the operator.
//!
//! Unknown keys are refused, so that a misspelt one cannot be silently without effect. Every column of the file is
//! listed, those that are not taken with `target` left out: a later delivery with other columns is refused with the
//! difference, because a renamed column would otherwise become a missing field.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use linkage_agreement::ids::PartyId;
use serde::{Deserialize, Serialize};

use super::charset::Charset;
use super::error::MappingError;
use super::headers::{BIRTH_PARTS, CANONICAL, FULL_NAME};
use super::names::NameOrder;
use super::values::DateFormat;

/// Version of this file's format.
const VERSION: u32 = 1;

/// One party's mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Version of this file's format; 1.
    pub version: u32,
    /// The party whose files it reads.
    pub party: PartyId,
    /// Whether the operator reviewed it; deliveries are refused until then.
    pub confirmed: bool,
    /// How the file is written.
    pub file: FileFormat,
    /// The file's columns, in its order.
    pub column: Vec<ColumnMapping>,
}

/// How a file is written: a delimited text has `encoding` and `separator`, a workbook has `sheet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFormat {
    /// Text or workbook.
    pub kind: FileKind,
    /// Character encoding of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Charset>,
    /// Separator of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<Separator>,
    /// Name of the sheet of a workbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
}

/// Text or workbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Delimited text.
    Text,
    /// .xlsx, .xls or .ods.
    Workbook,
}

/// What stands between two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Separator {
    /// `;`
    #[serde(rename = ";")]
    Semicolon,
    /// `,`
    #[serde(rename = ",")]
    Comma,
    /// Tabulation.
    #[serde(rename = "\t", alias = "tab", alias = "tabulation")]
    Tab,
    /// `|`
    #[serde(rename = "|")]
    Bar,
}

impl Separator {
    /// Every separator, in the order in which they are tried.
    pub const ALL: [Self; 4] = [Self::Semicolon, Self::Tab, Self::Bar, Self::Comma];
    /// The byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Semicolon => b';',
            Self::Comma => b',',
            Self::Tab => b'\t',
            Self::Bar => b'|',
        }
    }
}

/// One column of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnMapping {
    /// Its header; `(colonne 3)` when it has none, ` (2)` after the second one of a name.
    pub source: String,
    /// Canonical column, `nom_complet` or a part of the birth date; left out when the column is not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How dates are written; left out when the normalisation is to find out value by value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_format: Option<DateFormat>,
    /// What to make of the column beyond its target's own reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convert: Option<Conversion>,
    /// For `nom_complet`: what comes first where capitals do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_order: Option<NameOrder>,
    /// Values and what they become; compared without accents or case, before any other reading.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

/// What to make of a column beyond its target's own reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conversion {
    /// On `nom_usage`: the name in use, which is the birth name as well when the birth name's column is blank.
    UsageOrBirthName,
    /// On `lieu_naissance`: `Ville (PAYS)` gives place and country; without a country, France.
    PlaceAndCountry,
    /// On `commune_residence`: the commune's name gives its INSEE code, with the postcode's help where names are shared.
    CommuneName,
}

impl Mapping {
    /// A mapping of this version, not yet confirmed.
    pub fn new(party: PartyId, file: FileFormat, column: Vec<ColumnMapping>) -> Self {
        Self { version: VERSION, party, confirmed: false, file, column }
    }

    /// The mapping as reviewed by the operator.
    #[must_use]
    pub fn confirm(mut self) -> Self {
        self.confirmed = true;
        self
    }

    /// Reads and validates a mapping file.
    pub fn load(path: &Path) -> Result<Self, MappingError> {
        let text = fs::read_to_string(path).map_err(|e| MappingError::Io(e.kind()))?;
        Self::parse(&text)
    }

    /// Reads and validates a mapping.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let mapping: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            MappingError::Toml { line: before.matches('\n').count() + 1, message: error.message().to_owned() }
        })?;
        mapping.validate()?;
        Ok(mapping)
    }

    /// Checks what the types do not.
    pub fn validate(&self) -> Result<(), MappingError> {
        if self.version != VERSION {
            return Err(MappingError::Version(self.version));
        }
        let text = self.file.encoding.is_some() && self.file.separator.is_some() && self.file.sheet.is_none();
        let workbook = self.file.encoding.is_none() && self.file.separator.is_none() && self.file.sheet.is_some();
        if !(match self.file.kind {
            FileKind::Text => text,
            FileKind::Workbook => workbook,
        }) {
            return Err(MappingError::Format);
        }
        for (i, column) in self.column.iter().enumerate() {
            if self.column.iter().take(i).any(|c| c.source == column.source) {
                return Err(MappingError::SourceTwice(column.source.clone()));
            }
            self.validate_column(column, i)?;
        }
        let has = |target: &str| self.column.iter().any(|c| c.target.as_deref() == Some(target));
        if !has("local_id") {
            return Err(MappingError::TargetMissing("local_id"));
        }
        if !has(FULL_NAME) && !has("nom_naissance") && !has("nom_usage") {
            return Err(MappingError::TargetMissing("nom_naissance"));
        }
        let [day, month, year] = BIRTH_PARTS;
        if (has(day) || has(month)) && !has(year) {
            return Err(MappingError::TargetMissing(year));
        }
        if has(year) && has("date_naissance") {
            return Err(MappingError::TargetTwice("date_naissance".to_owned()));
        }
        if has(FULL_NAME) {
            for part in ["nom_naissance", "nom_usage", "prenoms"] {
                if has(part) {
                    return Err(MappingError::TargetTwice(part.to_owned()));
                }
            }
        }
        Ok(())
    }

    fn validate_column(&self, column: &ColumnMapping, index: usize) -> Result<(), MappingError> {
        let wrong = || MappingError::Conversion(column.source.clone());
        let Some(target) = column.target.as_deref() else {
            let bare = column.date_format.is_none()
                && column.convert.is_none()
                && column.name_order.is_none()
                && column.values.is_empty();
            return if bare { Ok(()) } else { Err(wrong()) };
        };
        if target != FULL_NAME && !BIRTH_PARTS.contains(&target) && !CANONICAL.contains(&target) {
            return Err(MappingError::UnknownTarget { source_column: column.source.clone(), target: target.to_owned() });
        }
        // Given names may stand in several columns; they are joined in the file's order.
        if target != "prenoms" && self.column.iter().take(index).any(|c| c.target.as_deref() == Some(target)) {
            return Err(MappingError::TargetTwice(target.to_owned()));
        }
        let fits = match column.convert {
            None => true,
            Some(Conversion::UsageOrBirthName) => target == "nom_usage",
            Some(Conversion::PlaceAndCountry) => {
                target == "lieu_naissance" && !self.column.iter().any(|c| c.target.as_deref() == Some("pays_naissance"))
            }
            Some(Conversion::CommuneName) => target == "commune_residence",
        };
        let dated = column.date_format.is_none() || target.starts_with("date_");
        let ordered = column.name_order.is_none() || target == FULL_NAME;
        let fixed = column.values.is_empty() || (target != "local_id" && target != FULL_NAME);
        if fits && dated && ordered && fixed { Ok(()) } else { Err(wrong()) }
    }

    /// The file's text, with its French explanations. `note` gives a comment to stand over a column.
    pub fn to_toml(&self, note: impl Fn(&ColumnMapping) -> Option<String>) -> String {
        let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut out = format!(
            "# Correspondance des colonnes d'une livraison avec les colonnes du système.\n\
             # À relire colonne par colonne, puis mettre « confirmed = true » : rien n'est lu avant.\n\
             # target : colonne du système ; sans « target », la colonne n'est pas reprise.\n\
             #   Colonnes : {}, {FULL_NAME} (nom et prénom dans une même colonne),\n\
             #   {} (date de naissance en plusieurs colonnes).\n\
             #   Plusieurs colonnes peuvent avoir « prenoms » pour cible : elles sont jointes dans l'ordre du fichier.\n\
             # date_format : \"JJ/MM/AAAA\", \"MM/JJ/AAAA\", \"AAAA-MM-JJ\", \"JJMMAAAA\", \"AAAAMMJJ\" ou \"excel\" (nombre de jours).\n\
             # convert : \"usage-or-birth-name\" (nom d'usage, qui est aussi le nom de naissance si celui-ci est vide),\n\
             #   \"place-and-country\" (« Ville (PAYS) »), \"commune-name\" (nom de commune vers code INSEE).\n\
             # values : valeurs du fichier et ce qu'elles deviennent (accents et casse ignorés).\n\
             version = {}\nparty = {}\nconfirmed = {}\n\n[file]\n",
            CANONICAL.join(", "),
            BIRTH_PARTS.join(", "),
            self.version,
            quote(self.party.as_str()),
            self.confirmed
        );
        // These values come from closed lists; serialising them cannot fail, and a blank would be refused by `parse`.
        let word = |value: Result<toml::Value, toml::ser::Error>| value.map(|v| v.to_string()).unwrap_or_default();
        let mut line = |key: &str, value: String| out.push_str(&format!("{key} = {value}\n"));
        line("kind", word(toml::Value::try_from(self.file.kind)));
        if let Some(encoding) = self.file.encoding {
            line("encoding", word(toml::Value::try_from(encoding)));
        }
        if let Some(separator) = self.file.separator {
            line("separator", word(toml::Value::try_from(separator)));
        }
        if let Some(sheet) = &self.file.sheet {
            line("sheet", quote(sheet));
        }
        for column in &self.column {
            out.push('\n');
            for comment in note(column).iter().flat_map(|text| text.lines()) {
                out.push_str(&format!("# {comment}\n"));
            }
            out.push_str(&format!("[[column]]\nsource = {}\n", quote(&column.source)));
            let mut line = |key: &str, value: String| out.push_str(&format!("{key} = {value}\n"));
            if let Some(target) = &column.target {
                line("target", quote(target));
            }
            if let Some(format) = column.date_format {
                line("date_format", word(toml::Value::try_from(format)));
            }
            if let Some(convert) = column.convert {
                line("convert", word(toml::Value::try_from(convert)));
            }
            if let Some(order) = column.name_order {
                line("name_order", word(toml::Value::try_from(order)));
            }
            if !column.values.is_empty() {
                let pairs: Vec<String> =
                    column.values.iter().map(|(from, to)| format!("{} = {}", quote(from), quote(to))).collect();
                line("values", format!("{{ {} }}", pairs.join(", ")));
            }
        }
        out
    }
}
