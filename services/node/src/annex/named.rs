//! A block-scoped party's annexes: those that the agreement asks for, made of a delivery's names.

use std::collections::{BTreeMap, HashMap, HashSet};

use linkage_agreement::RecordRef;

use crate::annex::Annexes;
use crate::annex::make::{AnnexMaker, Made};
use crate::archive::Index;
use crate::delivery::Row;
use crate::error::NodeError;
use crate::node::Node;
use crate::vault::Vault;

/// The agreement's annexes and what they are made by.
pub(crate) struct NamedAnnexes {
    annexes: Annexes,
    maker: AnnexMaker,
    recipes: [u8; 32],
}

impl NamedAnnexes {
    /// Reads schema and secrets as configured; none where the agreement asks for no annex, or this party has no names.
    ///
    /// # Errors
    /// What is missing in the configuration, or is not what the partners agreed on.
    pub(crate) fn load(node: &Node) -> Result<Option<Self>, NodeError> {
        let (agreement, hash) = (node.gate.agreement(), node.gate.agreement_hash());
        if node.profile().is_some() {
            return Ok(None);
        }
        let annexes = Annexes::of(agreement, &hash);
        let maker = AnnexMaker::load(&node.config, agreement, &hash)?;
        Ok(annexes.zip(maker).map(|(annexes, maker)| Self { recipes: annexes.recipes(), annexes, maker }))
    }

    /// What a record's content digest takes in beside the values delivered: with another recipe or secret it is encoded anew.
    pub(crate) fn content(&self) -> [&[u8]; 2] {
        [&self.recipes, self.maker.secrets()]
    }

    /// Writes the annexes of the records just appended. `rows` are those encoded, with the names of the columns that their
    /// values are of. Gives how often a part is absent, by reason.
    pub(crate) fn write(
        &self,
        vault: &Vault,
        index: &Index,
        appended: impl Iterator<Item = RecordRef>,
        decoys: &HashSet<RecordRef>,
        rows: &HashMap<RecordRef, &Row>,
        columns: &[String],
    ) -> Result<BTreeMap<String, u64>, NodeError> {
        let listed: Vec<&Row> = rows.values().copied().collect();
        self.annexes.write(vault, index, appended, |reference| {
            if decoys.contains(reference) {
                let drawn = |number: u64| listed.get((number % listed.len().max(1) as u64) as usize).copied();
                let annex = self.maker.decoy(|number, column| value(drawn(number), columns, column));
                return Made { annex, remarks: Vec::new() };
            }
            self.maker.make(|column| value(rows.get(reference).copied(), columns, column))
        })
    }
}

/// What was delivered in a column; empty where the delivery does not have it.
fn value<'r>(row: Option<&'r Row>, columns: &[String], column: &str) -> &'r str {
    let at = columns.iter().position(|name| name == column);
    at.and_then(|at| row?.delivered.get(at)).map_or("", String::as_str)
}
