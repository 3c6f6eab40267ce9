//! A record's values to a normalised identity, or the reason why the record was set aside.
//!
//! The identity holds one value for every identity field of the agreement, in its order. It is the most sensitive value
//! of the whole system: its `Debug` shows nothing and it is zeroised when dropped. Reasons and remarks are texts for
//! the operator's list; they name rules, never values.

use std::fmt;

use linkage_agreement::model::IdentityField;
use linkage_agreement::{DateQuality, FieldKind};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::date::{self, BirthDate, DateError, DateFormat};
use crate::place::Place;
use crate::tables;
use crate::text::{NameKind, is_foreign_script, name_words, plain_words};

/// Why a record cannot take part. The record stays in the operator's list, with its line number, and is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SetAside {
    /// All identity columns are empty.
    #[error("ligne sans identité : toutes les colonnes d'identité sont vides ; supprimer la ligne ou la compléter")]
    NoIdentity,
    /// No name in any name column.
    #[error("nom et prénom vides : compléter au moins le nom")]
    EmptyName,
    /// Names in another script than Latin only.
    #[error("nom sans lettre latine : le translittérer en alphabet latin")]
    UnreadableName,
    /// The date is impossible and the names are not enough without it.
    #[error("date de naissance impossible et un seul nom connu : corriger la date ou compléter le nom et le prénom")]
    ImpossibleDate,
    /// One name word, no date, nothing else to identify a person by.
    #[error("un seul nom et pas de date de naissance : compléter le prénom ou la date")]
    TooLittle,
    /// The record has fewer values than the header has columns.
    #[error("ligne incomplète : moins de colonnes que l'en-tête ; vérifier le séparateur et les guillemets")]
    MissingColumns,
}

/// What was read with a doubt; the record takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Remark {
    /// The date cannot be right and was left out, but for its year where that is plausible.
    #[error("date de naissance impossible, ignorée (l'année est gardée si elle est plausible) : corriger le fichier")]
    ImpossibleDate,
    /// The date was not read.
    #[error("date de naissance illisible, ignorée : écrire JJ/MM/AAAA ou AAAA-MM-JJ, ou préciser le format de la colonne")]
    UnreadableDate,
    /// The date stands for an unknown one.
    #[error("date de naissance par défaut (01/01 ou 31/12) : jour et mois non utilisés pour rapprocher")]
    DefaultDate,
    /// No given name.
    #[error("prénom vide : le rapprochement sera moins sûr")]
    NoGivenName,
    /// The sex is none of the known codes.
    #[error("sexe illisible, ignoré : écrire 1 ou 2, M ou F")]
    UnreadableSex,
}

/// Why identities cannot be read from a file's columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NormaliserError {
    /// None of the agreement's name columns is in the file.
    #[error("aucune colonne de nom : associer au moins une colonne du fichier à « {0} »")]
    NoNameColumn(String),
    /// The agreement has no name field.
    #[error("la convention ne prévoit aucun champ de nom")]
    NoNameField,
}

/// Sex, as `1` man or `2` woman in French files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Zeroize)]
pub enum Sex {
    /// 1, M, H, homme, male, Monsieur.
    Man,
    /// 2, F, femme, female, Madame.
    Woman,
}

impl Sex {
    /// Reads a code, word or title.
    pub fn read(text: &str) -> Option<Self> {
        match plain_words(text).concat().as_str() {
            "1" | "M" | "H" | "MR" | "HOMME" | "MASCULIN" | "MALE" | "MONSIEUR" | "GARCON" => Some(Self::Man),
            "2" | "F" | "MME" | "MLLE" | "FEMME" | "FEMININ" | "FEMALE" | "MADAME" | "MADEMOISELLE" | "FILLE" => {
                Some(Self::Woman)
            }
            _ => None,
        }
    }
}

/// The value of one identity field.
#[derive(Clone, PartialEq, Eq, Zeroize)]
pub enum FieldValue {
    /// Words of a birth name, usage name or given names; none when missing.
    Name(Vec<String>),
    /// Date of birth.
    Date(Option<BirthDate>),
    /// Sex.
    Sex(Option<Sex>),
    /// A place.
    Place(Place),
    /// A code, folded and without spaces.
    Category(Option<String>),
    /// Words of a text.
    Text(Vec<String>),
}

/// A normalised identity: one value for each identity field of the agreement.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Identity {
    fields: Vec<(Tag, FieldValue)>,
    #[zeroize(skip)]
    remarks: Vec<Remark>,
}

/// A field's kind, which is no secret.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tag(FieldKind);
impl Zeroize for Tag {
    fn zeroize(&mut self) {}
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}
impl fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldValue(..)")
    }
}
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place(..)")
    }
}

impl Identity {
    /// An identity of ready values, in the agreement's field order; for tests and measurements.
    pub fn from_values(values: Vec<(FieldKind, FieldValue)>) -> Self {
        Self { fields: values.into_iter().map(|(kind, value)| (Tag(kind), value)).collect(), remarks: Vec::new() }
    }
    /// Kinds and values, in the agreement's field order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (FieldKind, &FieldValue)> {
        self.fields.iter().map(|(tag, value)| (tag.0, value))
    }
    /// What was read with a doubt.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }
    /// The words of all fields of one name kind.
    pub fn words(&self, kind: FieldKind) -> impl Iterator<Item = &str> {
        self.fields()
            .filter(move |(k, _)| *k == kind)
            .flat_map(|(_, value)| match value {
                FieldValue::Name(words) => words.as_slice(),
                _ => &[],
            })
            .map(String::as_str)
    }
    /// The date of birth.
    pub fn birth_date(&self) -> Option<BirthDate> {
        self.fields().find_map(|(_, value)| match value {
            FieldValue::Date(date) => *date,
            _ => None,
        })
    }
    /// The sex.
    pub fn sex(&self) -> Option<Sex> {
        self.fields().find_map(|(_, value)| match value {
            FieldValue::Sex(sex) => *sex,
            _ => None,
        })
    }
    /// How far the date of birth can be trusted.
    pub fn date_quality(&self) -> DateQuality {
        self.birth_date().map_or(DateQuality::Missing, |date| date.quality)
    }
}

/// Reads identities from records whose columns are known.
#[derive(Debug, Clone)]
pub struct Normaliser {
    fields: Vec<Source>,
    missing: Vec<String>,
    date_format: Option<DateFormat>,
}

/// Where a field's value lies in a record.
#[derive(Debug, Clone)]
struct Source {
    kind: FieldKind,
    column: Option<usize>,
    name_column: Option<usize>,
    country_column: Option<usize>,
}

impl Normaliser {
    /// Finds the agreement's identity columns among a file's canonical `columns`. A column that the file lacks is read
    /// as empty (see [`Self::missing_columns`]), for parties differ in what they hold.
    ///
    /// # Errors
    /// [`NormaliserError`] when there is no name to read.
    pub fn new(fields: &[IdentityField], columns: &[String]) -> Result<Self, NormaliserError> {
        let mut missing = Vec::new();
        let mut find = |name: &str| {
            let found = columns.iter().position(|c| c == name);
            if found.is_none() && !missing.iter().any(|m| m == name) {
                missing.push(name.to_owned());
            }
            found
        };
        let sources: Vec<Source> = fields
            .iter()
            .map(|field| Source {
                kind: field.kind,
                column: find(&field.column),
                name_column: field.name_column.as_deref().and_then(&mut find),
                country_column: field.country_column.as_deref().and_then(&mut find),
            })
            .collect();
        let name = fields.iter().find(|f| f.kind.is_name()).ok_or(NormaliserError::NoNameField)?;
        if !sources.iter().any(|s| s.kind.is_name() && s.column.is_some()) {
            return Err(NormaliserError::NoNameColumn(name.column.clone()));
        }
        Ok(Self { fields: sources, missing, date_format: None })
    }

    /// Fixes the format of the date of birth, which is otherwise recognised for every value by itself.
    #[must_use]
    pub fn with_date_format(mut self, format: Option<DateFormat>) -> Self {
        self.date_format = format;
        self
    }

    /// The agreement's columns that the file lacks.
    pub fn missing_columns(&self) -> &[String] {
        &self.missing
    }

    /// The identity of one record; `values` are in the order of the columns.
    ///
    /// # Errors
    /// The reason why the record cannot take part.
    pub fn normalise<S: AsRef<str>>(&self, values: &[S]) -> Result<Identity, SetAside> {
        let value = |column: Option<usize>| match column {
            Some(i) => values.get(i).map(|v| v.as_ref().trim()).ok_or(SetAside::MissingColumns),
            None => Ok(""),
        };
        let mut remarks = Vec::new();
        let mut fields = Vec::with_capacity(self.fields.len());
        let (mut anything, mut foreign) = (false, false);
        for source in &self.fields {
            let text = value(source.column)?;
            anything |= !text.is_empty();
            foreign |= source.kind.is_name() && is_foreign_script(text);
            let field = match source.kind {
                FieldKind::BirthName | FieldKind::UsageName => FieldValue::Name(name_words(text, NameKind::Surname)),
                FieldKind::GivenNames => FieldValue::Name(given_names(text)),
                FieldKind::BirthDate => FieldValue::Date(self.birth_date(text, &mut remarks)),
                FieldKind::Sex => {
                    let sex = Sex::read(text);
                    if sex.is_none() && !text.is_empty() {
                        remarks.push(Remark::UnreadableSex);
                    }
                    FieldValue::Sex(sex)
                }
                FieldKind::Place => {
                    let (name, country) = (value(source.name_column)?, value(source.country_column)?);
                    FieldValue::Place(Place::read(text, name, country))
                }
                FieldKind::Category => {
                    let code = plain_words(text).concat();
                    FieldValue::Category((!code.is_empty()).then_some(code))
                }
                FieldKind::Text => FieldValue::Text(plain_words(text)),
            };
            fields.push((Tag(source.kind), field));
        }
        let mut identity = Identity { fields, remarks };
        if !anything {
            return Err(SetAside::NoIdentity);
        }
        let surnames = identity.words(FieldKind::BirthName).chain(identity.words(FieldKind::UsageName)).count();
        let given = identity.words(FieldKind::GivenNames).count();
        let elsewhere = identity.fields().any(|(_, value)| match value {
            FieldValue::Category(code) => code.is_some(),
            FieldValue::Text(words) => !words.is_empty(),
            _ => false,
        });
        match (surnames + given, identity.birth_date()) {
            (1, None) if elsewhere => {}
            (0, _) if foreign => return Err(SetAside::UnreadableName),
            (0, _) => return Err(SetAside::EmptyName),
            (1, None) if identity.remarks.contains(&Remark::ImpossibleDate) => return Err(SetAside::ImpossibleDate),
            (1, None) => return Err(SetAside::TooLittle),
            _ => {}
        }
        if given == 0 && self.fields.iter().any(|s| s.kind == FieldKind::GivenNames) {
            identity.remarks.push(Remark::NoGivenName);
        }
        Ok(identity)
    }

    fn birth_date(&self, text: &str, remarks: &mut Vec<Remark>) -> Option<BirthDate> {
        match date::parse(text, self.date_format) {
            Ok(date) => {
                if date.is_some_and(|d| d.quality == DateQuality::Default) {
                    remarks.push(Remark::DefaultDate);
                }
                date
            }
            Err(DateError::Impossible) => {
                remarks.push(Remark::ImpossibleDate);
                date::plausible_year(text, self.date_format)
            }
            Err(DateError::Unreadable) => {
                remarks.push(Remark::UnreadableDate);
                None
            }
        }
    }
}

/// Given names, with compound ones that were written in one word taken apart.
fn given_names(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in name_words(text, NameKind::Given) {
        match tables::names().compound(&word) {
            Some((first, second)) => words.extend([first.to_owned(), second.to_owned()]),
            None => words.push(word),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COLUMNS: [&str; 8] = [
        "nom_naissance",
        "nom_usage",
        "prenoms",
        "sexe",
        "date_naissance",
        "code_lieu_naissance",
        "lieu_naissance",
        "pays_naissance",
    ];

    fn normaliser() -> Normaliser {
        let field = |kind, column: &str| IdentityField { kind, column: column.into(), name_column: None, country_column: None };
        let mut place = field(FieldKind::Place, "code_lieu_naissance");
        place.name_column = Some("lieu_naissance".into());
        place.country_column = Some("pays_naissance".into());
        let fields = [
            field(FieldKind::BirthName, "nom_naissance"),
            field(FieldKind::UsageName, "nom_usage"),
            field(FieldKind::GivenNames, "prenoms"),
            field(FieldKind::Sex, "sexe"),
            field(FieldKind::BirthDate, "date_naissance"),
            place,
        ];
        Normaliser::new(&fields, &COLUMNS.map(String::from)).unwrap()
    }
    fn read(values: [&str; 8]) -> Result<Identity, SetAside> {
        normaliser().normalise(&values)
    }

    #[test]
    fn a_whole_record() {
        let identity = read(["BEN HADDOU", "Mansuri", "Jeanpierre, Ali", "2", "25/12/1987", "34172", "", ""]).unwrap();
        assert_eq!(identity.words(FieldKind::BirthName).collect::<Vec<_>>(), ["BENHADDOU"]);
        assert_eq!(identity.words(FieldKind::UsageName).collect::<Vec<_>>(), ["MANSURI"]);
        assert_eq!(identity.words(FieldKind::GivenNames).collect::<Vec<_>>(), ["JEAN", "PIERRE", "ALI"]);
        assert_eq!(identity.sex(), Some(Sex::Woman));
        assert_eq!(identity.date_quality(), DateQuality::Full);
        assert!(identity.remarks().is_empty());
    }

    #[test]
    fn every_reason_to_set_aside() {
        for (values, reason) in [
            (["", "", "", "", "", "", "", ""], SetAside::NoIdentity),
            (["", "", "", "1", "25/12/1987", "", "", ""], SetAside::EmptyName),
            (["MME", "INCONNUE", "(bis)", "1", "25/12/1987", "", "", ""], SetAside::EmptyName),
            (["Иванов", "", "Иван", "1", "25/12/1987", "", "", ""], SetAside::UnreadableName),
            (["DUPONT", "", "", "1", "", "", "", ""], SetAside::TooLittle),
            (["DUPONT", "", "", "1", "99999", "", "", ""], SetAside::ImpossibleDate),
        ] {
            assert_eq!(read(values), Err(reason));
        }
        assert_eq!(normaliser().normalise(&["DUPONT"]), Err(SetAside::MissingColumns));
    }

    #[test]
    fn a_record_with_a_gap_takes_part_with_a_remark() {
        for (values, remarks) in [
            (["DUPONT", "", "", "1", "25/12/1987", "", "", ""], vec![Remark::NoGivenName]),
            (["DUPONT", "", "LEA", "?", "25/12/1987", "", "", ""], vec![Remark::UnreadableSex]),
            (["DUPONT", "", "LEA", "", "31/02/1987", "", "", ""], vec![Remark::ImpossibleDate]),
            (["DUPONT", "", "LEA", "", "en 1987", "", "", ""], vec![Remark::UnreadableDate]),
            (["DUPONT", "", "LEA", "", "01/01/1987", "", "", ""], vec![Remark::DefaultDate]),
            (["", "", "LEA", "", "25/12/1987", "", "", ""], vec![]),
        ] {
            assert_eq!(read(values).unwrap().remarks(), remarks);
        }
    }

    #[test]
    fn columns_that_a_party_lacks_are_named_and_read_as_empty() {
        let field = |kind, column: &str| IdentityField { kind, column: column.into(), name_column: None, country_column: None };
        let fields = [field(FieldKind::BirthName, "nom"), field(FieldKind::BirthDate, "ne_le")];
        let lacking = Normaliser::new(&fields, &["nom".to_owned()]).unwrap();
        assert_eq!(lacking.missing_columns(), ["ne_le"]);
        assert_eq!(Normaliser::new(&fields, &["ne_le".to_owned()]).unwrap_err(), NormaliserError::NoNameColumn("nom".into()));
        assert_eq!(Normaliser::new(&fields[1..], &["ne_le".to_owned()]).unwrap_err(), NormaliserError::NoNameField);
    }

    #[test]
    fn sexes_as_services_write_them() {
        for text in ["1", "M", "H", "Homme", "M.", "masculin"] {
            assert_eq!(Sex::read(text), Some(Sex::Man));
        }
        for text in ["2", "F", "Femme", "Mme", "féminin", "MLLE"] {
            assert_eq!(Sex::read(text), Some(Sex::Woman));
        }
        assert_eq!(Sex::read("X"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_nothing_shows_a_value(values in proptest::array::uniform8("\\PC{4,40}")) {
            let words: Vec<&str> = values.iter().map(String::as_str).collect();
            let shown = format!("{:?}", normaliser().normalise(&words));
            let message = normaliser().normalise(&words).map_or_else(|e| e.to_string(), |i| format!("{:?}", i.remarks()));
            for value in words.iter().filter(|w| w.chars().filter(|c| c.is_alphanumeric()).count() > 3) {
                prop_assert!(!shown.contains(value) && !message.contains(value));
            }
        }
    }
}
