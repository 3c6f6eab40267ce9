//! Why a delivery is refused, and why one of its lines is set aside; in French, for the operator.
//!
//! No message repeats a value of the file: header names, counts and line numbers only. Header names are listed only once
//! the row is known to be a header, because a file without one would show a person's name there.

use std::io;

use super::charset::Charset;

/// Why a whole delivery is refused; nothing of it may be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The file cannot be opened or read.
    #[error("lecture impossible ({}) : vérifier le chemin, les droits et le disque, puis recommencer", words(*.0))]
    Io(io::ErrorKind),
    /// No byte, or blank lines only.
    #[error("le fichier est vide : demander une nouvelle extraction")]
    Empty,
    /// A header and nothing after it.
    #[error("le fichier ne contient que la ligne d'en-tête : demander une nouvelle extraction")]
    HeaderOnly,
    /// No separator gives two columns or more.
    #[error("aucun séparateur reconnu (; , tabulation |) : enregistrer le fichier en CSV ou en XLSX avec une colonne par champ")]
    NoSeparator,
    /// The first non-blank row does not name columns.
    #[error("aucun en-tête reconnu à la ligne {line} : la première ligne non vide doit nommer les colonnes")]
    NoHeader {
        /// Physical line of the row.
        line: u64,
    },
    /// A workbook where the mapping says text, or the reverse.
    #[error(
        "le fichier n'est pas du type déclaré (texte ou classeur) : livrer le même type que d'habitude ou proposer une nouvelle correspondance"
    )]
    OtherKind,
    /// The header differs from the confirmed mapping.
    #[error("l'en-tête diffère de la correspondance confirmée : colonnes absentes [{}], colonnes nouvelles [{}] ; corriger l'extraction ou proposer une nouvelle correspondance", .missing.join(", "), .new.join(", "))]
    HeaderChanged {
        /// Columns of the mapping that the file has not.
        missing: Vec<String>,
        /// Columns of the file that the mapping has not.
        new: Vec<String>,
    },
    /// The bytes are not what the mapping declares.
    #[error("l'encodage déclaré ({declared}) ne convient pas{} : {}", told_by(*.records), advice(.suggested))]
    WrongCharset {
        /// What the mapping says.
        declared: Charset,
        /// What the bytes look like, where that is known.
        suggested: Option<Charset>,
        /// Records that tell so; 0 when the header or a byte order mark does.
        records: u64,
    },
    /// Letters with accents stand where MS-DOS or old Macintoshes have them.
    #[error(
        "les accents sont codés comme sous MS-DOS (CP850) ou d'anciens Macintosh, ce qui n'est pas lu : réenregistrer le fichier en « CSV UTF-8 », puis recommencer"
    )]
    OldCharset,
    /// Zero bytes, and not as UTF-16 has them.
    #[error(
        "le fichier contient des octets nuls : ce n'est pas un texte ; réenregistrer le fichier en CSV UTF-8 ou en XLSX, puis recommencer"
    )]
    NotText,
    /// Most dates of birth are not dates in the declared format.
    #[error(
        "{unread} dates de naissance sur {filled} sont illisibles ou impossibles : rien n'a été retenu ; corriger « date_format » dans la correspondance ou l'extraction, puis recommencer"
    )]
    BirthDates {
        /// Dates of birth that cannot be read.
        unread: u64,
        /// Dates of birth that are not blank.
        filled: u64,
    },
    /// Lines end with a lone carriage return.
    #[error("fins de ligne « CR » seules (ancien Macintosh) : réenregistrer le fichier avec des fins de ligne Windows ou Unix")]
    CarriageReturns,
    /// Size, date or content differ between the start and the end of the reading.
    #[error("le fichier a changé pendant la lecture : rien n'a été retenu ; attendre la fin du dépôt, puis recommencer")]
    Changed,
    /// The mapping was proposed and not yet reviewed.
    #[error("la correspondance des colonnes n'est pas confirmée : la relire, mettre « confirmed = true », puis recommencer")]
    NotConfirmed,
    /// `finish` was called before the last line was read.
    #[error("la lecture n'est pas allée à son terme : rien n'a été retenu ; recommencer")]
    Unfinished,
    /// The mapping is not valid.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The workbook cannot be read.
    #[error(transparent)]
    Workbook(#[from] WorkbookError),
}

impl From<io::Error> for IntakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// What the system refused, for operators.
fn words(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::NotFound => "fichier introuvable".to_owned(),
        io::ErrorKind::PermissionDenied => "accès refusé".to_owned(),
        io::ErrorKind::AlreadyExists => "le fichier existe déjà".to_owned(),
        io::ErrorKind::IsADirectory => "c'est un dossier".to_owned(),
        io::ErrorKind::StorageFull => "disque plein".to_owned(),
        io::ErrorKind::TimedOut => "pas de réponse à temps".to_owned(),
        other => other.to_string(),
    }
}

fn told_by(records: u64) -> String {
    match records {
        0 => String::new(),
        1 => " à 1 fiche".to_owned(),
        n => format!(" à {n} fiches"),
    }
}

fn advice(suggested: &Option<Charset>) -> String {
    match suggested {
        Some(charset) => format!("il semble être en {charset} ; corriger « encoding » dans la correspondance, puis recommencer"),
        None => "corriger « encoding » dans la correspondance ou réenregistrer le fichier en UTF-8, puis recommencer".to_owned(),
    }
}

/// Why a workbook is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkbookError {
    /// Not a workbook, or a damaged one.
    #[error("le classeur est illisible ou abîmé : le réenregistrer au format XLSX, puis recommencer")]
    Unreadable,
    /// Opens with a password only.
    #[error("le classeur est protégé par un mot de passe : l'enregistrer sans protection, puis recommencer")]
    Protected,
    /// Larger than what is read in memory.
    #[error("le classeur dépasse la limite ({limit}) : l'enregistrer en CSV, qui est lu sans limite de taille")]
    TooLarge {
        /// The limit, in words.
        limit: &'static str,
    },
    /// Few cells, so far apart that the table between them would not fit in memory.
    #[error(
        "les cellules remplies du classeur sont trop éloignées les unes des autres ou trop nombreuses pour être lues : supprimer celles qui ne font pas partie du tableau, ou l'enregistrer en XLSX ou en CSV, puis recommencer"
    )]
    Spread,
    /// The sheet of the mapping is not in the workbook.
    #[error(
        "la feuille « {sheet} » de la correspondance est absente du classeur : la rétablir ou proposer une nouvelle correspondance"
    )]
    SheetMissing {
        /// Name of the sheet in the mapping.
        sheet: String,
    },
}

/// Why a mapping file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// The file cannot be read or written.
    #[error("correspondance : lecture ou écriture impossible ({}) ; vérifier le chemin et les droits", words(*.0))]
    Io(io::ErrorKind),
    /// Not TOML, an unknown key or a value of another type.
    #[error("correspondance, ligne {line} : {message}")]
    Toml {
        /// Line of the mapping file, from 1.
        line: usize,
        /// The parser's words.
        message: String,
    },
    /// Written for another version of this program.
    #[error("correspondance : version {0} du format inconnue ; proposer une nouvelle correspondance")]
    Version(u32),
    /// A source column is listed twice.
    #[error("correspondance : la colonne « {0} » figure deux fois ; n'en garder qu'une")]
    SourceTwice(String),
    /// Not a canonical column.
    #[error("correspondance, colonne « {source_column} » : cible « {target} » inconnue ; voir la liste en tête du fichier")]
    UnknownTarget {
        /// Column of the delivery.
        source_column: String,
        /// What it was mapped to.
        target: String,
    },
    /// Two source columns for one canonical column.
    #[error("correspondance : deux colonnes ont pour cible « {0} » ; n'en garder qu'une")]
    TargetTwice(String),
    /// A canonical column that every delivery needs has no source.
    #[error("correspondance : aucune colonne pour « {0} », qui est obligatoire ; l'indiquer ou compléter l'extraction")]
    TargetMissing(&'static str),
    /// A conversion that the target does not take.
    #[error("correspondance, colonne « {0} » : cette conversion ne convient pas à cette cible")]
    Conversion(String),
    /// A delimited text needs a separator, a workbook has none.
    #[error("correspondance : indiquer « separator » et « encoding » pour un texte, « sheet » pour un classeur")]
    Format,
}

/// Why one line is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum SetAsideReason {
    /// Fewer fields than the header.
    #[error("champs manquants : {found} au lieu de {expected}")]
    TooFewFields {
        /// Fields of the line.
        found: usize,
        /// Columns of the header.
        expected: usize,
    },
    /// More fields than the header.
    #[error("champs en trop : {found} au lieu de {expected} (séparateur dans une valeur ?)")]
    TooManyFields {
        /// Fields of the line.
        found: usize,
        /// Columns of the header.
        expected: usize,
    },
    /// A byte that the declared encoding does not have.
    #[error("octets illisibles dans l'encodage déclaré")]
    Undecodable,
    /// Longer than 1 MiB.
    #[error("ligne de plus de 1 Mio")]
    TooLong,
    /// A quotation mark that opens a field and is not closed.
    #[error("guillemet ouvert et jamais fermé")]
    UnclosedQuote,
    /// No local identifier.
    #[error("identifiant local vide")]
    EmptyLocalId,
    /// The local identifier stands on an earlier line.
    #[error("identifiant local déjà présent plus haut dans le fichier")]
    DuplicateLocalId,
    /// Nothing on the line.
    #[error("ligne vide")]
    Blank,
}
