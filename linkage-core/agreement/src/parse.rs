//! An agreement's text, read, checked and hashed at once; nothing that fails a check becomes a `ParsedAgreement`.

use crate::canonical::{AgreementHash, canonical_bytes};
use crate::check::check;
use crate::document::{Fault, Faults, Node, normalise, read};
use crate::model::Agreement;
use crate::schema::{self, Shape};

/// An agreement without faults, with the bytes and hash that parties sign. Not yet signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedAgreement {
    agreement: Agreement,
    canonical: Vec<u8>,
    hash: AgreementHash,
}

impl ParsedAgreement {
    /// Reads TOML `text`; `file` is its name for messages. On failure gives every fault, in file order.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<Fault>> {
        let (root, agreement) = read_typed::<Agreement>(text, file, &schema::AGREEMENT, check)?;
        let canonical = canonical_bytes(&root.to_json()).map_err(|error| whole_file(file, &error.to_string()))?;
        let hash = AgreementHash::of_canonical(&canonical);
        Ok(Self { agreement, canonical, hash })
    }
    /// The typed agreement.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }
    /// The canonical bytes (RFC 8785).
    pub fn canonical_bytes(&self) -> &[u8] {
        &self.canonical
    }
    /// What parties sign.
    pub fn hash(&self) -> AgreementHash {
        self.hash
    }
}

/// Reads any of the crate's files: syntax, shape, then `check`, then the typed value.
pub(crate) fn read_typed<T: serde::de::DeserializeOwned>(
    text: &str,
    file: &str,
    shape: &Shape,
    check: impl FnOnce(&Node, &mut Faults<'_>),
) -> Result<(Node, T), Vec<Fault>> {
    let text = normalise(text);
    let mut faults = Faults::new(file, &text);
    let Some(root) = read(&text, &mut faults) else { return Err(faults.into_vec()) };
    schema::walk(&root, shape, "", &mut faults);
    check(&root, &mut faults);
    if !faults.is_empty() {
        return Err(faults.into_vec());
    }
    match serde_json::from_value(root.to_json()) {
        Ok(value) => Ok((root, value)),
        Err(error) => Err(whole_file(file, &error.to_string())),
    }
}

/// The schema admits only what the model holds, so this says that the two have come apart.
fn whole_file(file: &str, error: &str) -> Vec<Fault> {
    let message = format!("contenu illisible ({error}) : signaler ce fichier à l'équipe du logiciel");
    vec![Fault { file: file.to_owned(), line: 1, column: 1, path: String::new(), message }]
}
