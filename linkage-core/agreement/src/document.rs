//! A TOML file read as plain values that remember where they stand, and the faults found in it.
//!
//! Every later check works on these values, so that each fault names file, line and column (both from 1, columns in
//! characters). The data model holds text, whole numbers within ±(2⁵³ − 1), truth values, lists and tables; a bare
//! date counts as its text `AAAA-MM-JJ`. Floating-point numbers and times have no canonical form and are refused.
//! Messages never repeat a value, only names of keys: a value may be a key or an address.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value as Json;
use toml_edit::{Document, Item, TableLike, Value};

/// Largest whole number that every JSON reader keeps exactly (RFC 8785 section 3.2.2.3): 2⁵³ − 1.
pub(crate) const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Longest file read, in bytes; a real agreement takes some 20 kB.
const MAX_LEN: usize = 1 << 20;

/// One fault in a file, for the person who wrote it; in French.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file's name, as it was given.
    pub file: String,
    /// Line of the key or value at fault, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key's path, lists counted from 1 (for instance `party[2].signing_key`); empty for the whole file.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{} : ", self.file, self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{} : ", self.path)?;
        }
        f.write_str(&self.message)
    }
}
impl std::error::Error for Fault {}

/// A value and where it stands (byte offsets in the text as normalised by `normalise`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Where its key stands, or the value itself when it has none.
    pub(crate) key_at: usize,
    /// Where the value, or the table's header, stands.
    pub(crate) at: usize,
    /// The value.
    pub(crate) kind: Kind,
}

/// A value of the data model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, or a bare date as text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Boolean(bool),
    /// A list, or an array of tables.
    List(Vec<Node>),
    /// A table, entries in file order.
    Table(Vec<(String, Node)>),
    /// A value outside the data model; its fault is already noted.
    Refused,
}

impl Node {
    /// The entry `key`, when this is a table that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Table(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }
    /// The text, when this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
    /// The text of the entry `key`.
    pub(crate) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }
    /// The number, when this is one.
    pub(crate) fn integer(&self) -> Option<i64> {
        match self.kind {
            Kind::Integer(number) => Some(number),
            _ => None,
        }
    }
    /// The elements; none when this is not a list.
    pub(crate) fn elements(&self) -> &[Node] {
        match &self.kind {
            Kind::List(elements) => elements,
            _ => &[],
        }
    }
    /// The elements of the entry `key`; none when it is missing or no list.
    pub(crate) fn list_of(&self, key: &str) -> &[Node] {
        self.get(key).map_or(&[], Node::elements)
    }
    /// The same value as JSON, positions left out.
    pub(crate) fn to_json(&self) -> Json {
        match &self.kind {
            Kind::Text(text) => Json::String(text.clone()),
            Kind::Integer(number) => Json::from(*number),
            Kind::Boolean(truth) => Json::Bool(*truth),
            Kind::List(elements) => Json::Array(elements.iter().map(Node::to_json).collect()),
            Kind::Table(entries) => Json::Object(entries.iter().map(|(k, v)| (k.clone(), v.to_json())).collect()),
            Kind::Refused => Json::Null,
        }
    }
}

/// The faults of one file, and what turns offsets into lines.
pub(crate) struct Faults<'t> {
    file: &'t str,
    text: &'t str,
    found: Vec<(usize, Fault)>,
}

impl<'t> Faults<'t> {
    /// No faults yet in `text`, the normalised content of `file`.
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, found: Vec::new() }
    }
    /// Notes a fault at byte `at`.
    pub(crate) fn add(&mut self, at: usize, path: &str, message: impl Into<String>) {
        let (line, column) = self.position(at);
        let (file, path, message) = (self.file.to_owned(), path.to_owned(), message.into());
        self.found.push((at, Fault { file, line, column, path, message }));
    }
    /// Line of byte `at`, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.position(at).0
    }
    /// Whether nothing has been noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
    /// The faults in file order.
    pub(crate) fn into_vec(mut self) -> Vec<Fault> {
        self.found.sort_by_key(|(at, _)| *at);
        self.found.into_iter().map(|(_, fault)| fault).collect()
    }

    fn position(&self, at: usize) -> (usize, usize) {
        let mut end = at.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = self.text.get(..end).unwrap_or_default();
        let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

/// Drops a byte order mark and turns CR LF into LF, so that an editor's habits change neither values nor hash.
pub(crate) fn normalise(text: &str) -> Cow<'_, str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) }
}

/// Reads normalised text; `None` when it is no TOML at all (one fault is then noted).
pub(crate) fn read(text: &str, faults: &mut Faults<'_>) -> Option<Node> {
    if text.len() > MAX_LEN {
        faults.add(0, "", "le fichier dépasse 1 Mio ; ce n'est pas une convention : vérifier le chemin donné");
        return None;
    }
    match Document::parse(text) {
        Ok(document) => Some(table(document.as_table(), 0, 0, "", faults)),
        Err(error) => {
            faults.add(error.span().map_or(0, |s| s.start), "", syntax(error.message()));
            None
        }
    }
}

fn table(entries: &dyn TableLike, key_at: usize, at: usize, path: &str, faults: &mut Faults<'_>) -> Node {
    let entries = entries
        .iter()
        .map(|(name, item)| {
            let key_at = entries.key(name).and_then(toml_edit::Key::span).map_or(at, |s| s.start);
            (name.to_owned(), self::item(item, key_at, &join(path, name), faults))
        })
        .collect();
    Node { key_at, at, kind: Kind::Table(entries) }
}

fn item(item: &Item, key_at: usize, path: &str, faults: &mut Faults<'_>) -> Node {
    let at = item.span().map_or(key_at, |s| s.start);
    match item {
        Item::None => Node { key_at, at, kind: Kind::Refused },
        Item::Value(value) => self::value(value, key_at, path, faults),
        Item::Table(entries) => table(entries, key_at, at, path, faults),
        Item::ArrayOfTables(tables) => {
            let elements = tables
                .iter()
                .enumerate()
                .map(|(i, t)| {
                    let at = t.span().map_or(key_at, |s| s.start);
                    table(t, at, at, &element(path, i), faults)
                })
                .collect();
            Node { key_at, at, kind: Kind::List(elements) }
        }
    }
}

fn value(value: &Value, key_at: usize, path: &str, faults: &mut Faults<'_>) -> Node {
    let at = value.span().map_or(key_at, |s| s.start);
    let kind = match value {
        Value::String(text) => Kind::Text(text.value().clone()),
        Value::Boolean(truth) => Kind::Boolean(*truth.value()),
        Value::Integer(number) if number.value().unsigned_abs() <= MAX_INTEGER.unsigned_abs() => Kind::Integer(*number.value()),
        Value::Integer(_) => {
            faults.add(at, path, "nombre trop grand : au plus 9007199254740991 en valeur absolue");
            Kind::Refused
        }
        Value::Float(_) => {
            faults.add(at, path, "nombre à virgule refusé : écrire un nombre entier, dans l'unité indiquée");
            Kind::Refused
        }
        Value::Datetime(moment) => match (moment.value().date, moment.value().time) {
            (Some(date), None) => Kind::Text(date.to_string()),
            _ => {
                faults.add(at, path, "heure refusée : écrire la date seule, AAAA-MM-JJ");
                Kind::Refused
            }
        },
        Value::Array(elements) => Kind::List(
            elements
                .iter()
                .enumerate()
                .map(|(i, v)| self::value(v, v.span().map_or(at, |s| s.start), &element(path, i), faults))
                .collect(),
        ),
        Value::InlineTable(entries) => return table(entries, key_at, at, path, faults),
    };
    Node { key_at, at, kind }
}

/// The path of entry `name` under `path`.
pub(crate) fn join(path: &str, name: &str) -> String {
    let name: String = name.chars().take(40).collect();
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// The path of the element with index `i` (from 0) of the list at `path`; shown from 1.
pub(crate) fn element(path: &str, i: usize) -> String {
    format!("{path}[{}]", i + 1)
}

/// The frequent syntax errors of `toml_edit` in French; another one is given in the parser's own words.
fn syntax(message: &str) -> String {
    const KNOWN: [(&str, &str); 16] = [
        ("duplicate key", "clé ou table déjà écrite plus haut : n'en garder qu'une"),
        ("string values must be quoted", "texte sans guillemets : l'écrire entre guillemets doubles"),
        ("missing value", "valeur manquante après le signe ="),
        ("key with no value", "clé sans valeur : écrire clé = valeur"),
        ("missing assignment", "il manque le signe = entre la clé et la valeur"),
        ("extra assignment", "un signe = de trop"),
        ("extra `=`", "un signe = de trop"),
        ("unclosed array table", "crochets non fermés : écrire [[nom]]"),
        ("unclosed table", "crochet non fermé : écrire [nom]"),
        ("unclosed array", "liste non fermée : ajouter ]"),
        ("unclosed inline table", "accolade non fermée : ajouter }"),
        ("missing comma", "il manque une virgule entre deux éléments"),
        ("extra comma", "une virgule de trop"),
        ("invalid unquoted key", "nom de clé invalide : lettres sans accent, chiffres, tiret et souligné seulement"),
        ("unexpected key or value", "deux choses sur une ligne : passer à la ligne avant la clé suivante"),
        (
            "invalid basic string",
            "texte mal fermé ou caractère interdit : vérifier les guillemets et les barres obliques inverses",
        ),
    ];
    let known = KNOWN.iter().find(|(start, _)| message.starts_with(start)).map(|(_, french)| *french);
    match known {
        Some(french) => format!("syntaxe TOML : {french}"),
        None => format!("syntaxe TOML : l'analyseur indique « {} »", message.chars().take(160).collect::<String>()),
    }
}
