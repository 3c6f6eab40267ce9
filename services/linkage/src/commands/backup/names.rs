//! Names of backups in a folder: `KIND-WHOSE-MOMENT.linkage-backup`.
//!
//! WHOSE is eight digits of a hash of role and agreement (its identifier, which amendments keep), so that two roles of one kind that
//! are saved into one folder never delete each other's. It names nobody to whoever does not know the parties. Names from before had
//! no such digits: whose those are only the recovery key tells, so that nothing deletes them by itself.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use linkage_agreement::{PartyId, RoleId};
use sha2::{Digest as _, Sha256};

const ENDING: &str = ".linkage-backup";
/// To the millisecond: two backups begun in one second have names of their own.
const MOMENT: &str = "%Y%m%dT%H%M%S%.3fZ";
/// As well in names from before, to the second.
const MOMENT_READ: &str = "%Y%m%dT%H%M%S%.fZ";
const LABEL: &[u8] = b"linkage backup name v1\0";
/// Bytes of the hash that stand in a name.
const WHOSE: usize = 4;

/// The names of one role's backups.
pub(super) struct Names {
    kind: &'static str,
    whose: String,
}

/// The backups of a folder that are older than a moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Old {
    /// This role's.
    pub(super) own: Vec<PathBuf>,
    /// Of this kind of role, under a name from before.
    pub(super) unnamed: Vec<PathBuf>,
}

impl Names {
    /// Of `role` under the agreement of this identifier.
    pub(super) fn of(role: &RoleId, agreement: &PartyId) -> Self {
        let kind = match role {
            RoleId::Party(_) => "noeud",
            RoleId::Broker => "courtier",
            RoleId::Custodian => "tiers",
            RoleId::Analyst(_) => "etude",
        };
        let parts = [LABEL, agreement.as_str().as_bytes(), b"\0", role.to_string().as_bytes()].concat();
        let hash = Sha256::digest(parts);
        Self { kind, whose: hex::encode(hash.get(..WHOSE).unwrap_or_default()) }
    }

    /// The name of a backup made at `now`.
    pub(super) fn at(&self, now: Timestamp) -> String {
        format!("{}-{}-{}{ENDING}", self.kind, self.whose, now.strftime(MOMENT))
    }

    /// When this role's backup of that name was made, seconds since 1970; none for another's.
    pub(super) fn moment(&self, name: &str) -> Option<i64> {
        moment(self.unnamed(name)?.strip_prefix(&self.whose)?.strip_prefix('-')?)
    }

    /// What follows the kind in a name.
    fn unnamed<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_suffix(ENDING)?.strip_prefix(self.kind)?.strip_prefix('-')
    }

    /// The backups in `folder` whose name says that they were made before `since`.
    pub(super) fn older(&self, folder: &Path, since: i64) -> std::io::Result<Old> {
        let mut old = Old::default();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let own = self.moment(name);
            let unnamed = self.unnamed(name).and_then(moment);
            if own.is_some_and(|made| made < since) {
                old.own.push(path);
            } else if unnamed.is_some_and(|made| made < since) {
                old.unnamed.push(path);
            }
        }
        old.own.sort();
        old.unnamed.sort();
        Ok(old)
    }
}

fn moment(text: &str) -> Option<i64> {
    let made = DateTime::strptime(MOMENT_READ, text).ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(made.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(role: &RoleId, agreement: &str) -> Names {
        Names::of(role, &agreement.parse().unwrap())
    }

    fn node(name: &str) -> RoleId {
        RoleId::Party(name.parse().unwrap())
    }

    #[test]
    fn roles_of_one_kind_in_one_folder_know_their_own() {
        let now = Timestamp::from_second(1_763_800_000).unwrap();
        let all = [names(&node("ccas"), "a"), names(&node("siao"), "a"), names(&node("ccas"), "b"), names(&RoleId::Broker, "a")];
        for (mine, of_mine) in all.iter().enumerate() {
            let name = of_mine.at(now);
            for (other, of_other) in all.iter().enumerate() {
                assert_eq!(of_other.moment(&name), (mine == other).then_some(now.as_second()), "{name}");
            }
            assert!(!name.contains("ccas") && !name.contains("siao"), "{name}");
            let next = of_mine.at(Timestamp::from_millisecond(1_763_800_000_001).unwrap());
            assert!(name < next && of_mine.moment(&next) == Some(now.as_second()), "{name} {next}");
            assert_eq!(of_mine.moment(&name.replace(".000Z", "Z")), Some(now.as_second()), "a name from before");
        }
    }

    #[test]
    fn only_older_ones_of_the_same_role_are_old_and_those_without_digits_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, other) = (names(&node("ccas"), "a"), names(&node("siao"), "a"));
        let at = |second| Timestamp::from_second(second).unwrap();
        let (old, new) = (mine.at(at(1_000)), mine.at(at(2_000)));
        let before = ["noeud-19700101T001000Z.linkage-backup", "noeud-20990101T000000Z.linkage-backup"];
        let foreign =
            [other.at(at(1_000)), format!("{old}.tmp"), format!(".{old}"), "courtier-19700101T001000Z.linkage-backup".into()];
        for name in [&old, &new].into_iter().chain(&foreign).map(String::as_str).chain(before) {
            linkage_common::fsx::write_atomic(&dir.path().join(name), b"x").unwrap();
        }
        let path = |name: &str| dir.path().join(name);
        let expected = Old { own: vec![path(&old)], unnamed: vec![path(before[0])] };
        assert_eq!(mine.older(dir.path(), 2_000).unwrap(), expected);
        assert!(mine.older(&path("gone"), 0).is_err());
    }
}
