//! Whether a role's database and what lies beside it are of one moment: put back one without the other, they are not.
//!
//! A broker's database names uploads that must be there; a custodian's audit log names runs that its registry took in, since the last
//! restoration that the log tells of. `linkage backup restore` brings both together (docs/sauvegarde.md); a host's own copy does not.

use std::collections::BTreeSet;

use linkage_agreement::{RoleId, RunId};
use linkage_common::audit::{self, Outcome};
use linkage_common::blob::BlobStore;
use linkage_common::database::Place;
use linkage_common::error::ServiceError;

use super::{Findings, Role};

const CHECK: &str = "cohérence";
const UPLOADS: &str = "uploads";
/// Runs that are named in a finding.
const NAMED: usize = 5;

/// After the agreement's end, by its term or by a notice, all rows are deleted and the log stays: a custodian's then need not agree.
pub(super) async fn look(role: &Role, over: bool, found: &mut Findings) {
    let Some((place, _)) = &role.database else { return };
    match role.id {
        RoleId::Broker => match without_uploads(role, place).await {
            Err(error) => found.warning(CHECK, format!("base et envois non comparés : {error}")),
            Ok(without) if without.is_empty() => found.good(CHECK, "les envois que la base nomme sont là"),
            Ok(without) => found.fault(
                CHECK,
                format!(
                    "{} : la base nomme des envois qui ne sont pas là ; base et envois ne sont pas du même moment (restauration partielle ?). Arrêtez le courtier et restaurez par « linkage backup restore », qui clôt ces traitements (docs/sauvegarde.md)",
                    shown(&without)
                ),
            ),
        },
        RoleId::Custodian if !over => match not_in_the_registry(role, place).await {
            Err(error) => found.warning(CHECK, format!("base et journal d'audit non comparés : {error}")),
            Ok(lost) if lost.is_empty() => found.good(CHECK, "la base connaît les traitements que le journal d'audit dit inscrits"),
            Ok(lost) => found.fault(
                CHECK,
                format!(
                    "{} : inscrits d'après le journal d'audit, inconnus de la base ; elle est plus ancienne que le journal (restauration partielle ?). Arrêtez le tiers et exécutez « linkage backup restore », qui la met d'accord (docs/sauvegarde.md)",
                    shown(&lost)
                ),
            ),
        },
        RoleId::Party(_) | RoleId::Custodian | RoleId::Analyst(_) => {}
    }
}

fn shown(runs: &[RunId]) -> String {
    let names: Vec<&str> = runs.iter().take(NAMED).map(RunId::as_str).collect();
    let more = if runs.len() > NAMED { ", …" } else { "" };
    format!("{} traitement(s) ({}{more})", runs.len(), names.join(", "))
}

async fn without_uploads(role: &Role, place: &Place) -> Result<Vec<RunId>, ServiceError> {
    // A folder that is not there is not made: nothing is changed here.
    let there = role.objects.is_some() || role.data.join(UPLOADS).is_dir();
    let uploads = if there { Some(BlobStore::open(role.objects.as_ref(), &role.data, UPLOADS)?) } else { None };
    linkage_broker::store::Store::as_it_is(place).await?.runs_without_uploads(uploads.as_ref()).await
}

async fn not_in_the_registry(role: &Role, place: &Place) -> Result<Vec<RunId>, ServiceError> {
    let mut registered = BTreeSet::new();
    audit::each::<std::io::Error>(&role.audit.place(&role.data)?, |_, _, entry| {
        match (entry.what.as_str(), entry.run.as_deref().map(str::parse)) {
            ("backup.restored", _) => registered.clear(),
            ("run.registered", Some(Ok(run))) if entry.outcome == Outcome::Done => drop(registered.insert(run)),
            _ => {}
        }
        Ok(())
    })
    .map_err(ServiceError::internal)?;
    let store = linkage_custodian::store::Store::as_it_is(place).await?;
    let mut lost = Vec::new();
    for run in registered {
        if !store.knows(&run).await? {
            lost.push(run);
        }
    }
    Ok(lost)
}
