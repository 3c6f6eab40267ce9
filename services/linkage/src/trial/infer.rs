//! An agreement for a trial, inferred from the columns that the files have.

use std::io::{BufReader, Read};
use std::path::Path;

use linkage_agreement::defaults::Term;
use linkage_agreement::model::{Attribute, Identity, IdentityField};
use linkage_agreement::{Agreement, FieldKind, PartyId, Period};
use linkage_node::intake::{FULL_NAME, Mapping};

use crate::secrets::Secrets;

/// Records beyond which the agreement's limit lies, as a factor of the lines counted.
const ROOM: u64 = 2;

/// Lines of a file, for the agreement's expected size; a workbook's are estimated from its bytes.
pub fn lines(file: &Path) -> anyhow::Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 20, std::fs::File::open(file)?);
    let mut buffer = vec![0; 1 << 20];
    let (mut lines, mut bytes, mut binary) = (0, 0, false);
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        binary |= bytes == 0 && buffer.starts_with(b"PK");
        bytes += read as u64;
        lines += buffer[..read].iter().filter(|&&b| b == b'\n').count() as u64;
    }
    Ok(if binary { bytes / 40 + 100 } else { lines + 1 })
}

/// Identity fields, pass set and attributes: French ones when the files hold a birth place or a usage name; else names,
/// date and whatever of suburb, address and postcode there is.
pub fn fields<'m>(mappings: impl Iterator<Item = &'m Mapping>) -> (Identity, &'static str, Vec<Attribute>) {
    let columns: std::collections::HashSet<String> =
        mappings.flat_map(|m| m.column.iter().filter_map(|c| c.target.clone())).collect();
    let has = |name: &str| columns.contains(name);
    let french = ["nom_usage", "code_lieu_naissance", "lieu_naissance", "pays_naissance", "commune_residence", FULL_NAME]
        .iter()
        .any(|c| has(c));
    if french {
        (Identity::french(), "fr-1", Attribute::french())
    } else {
        let mut fields = vec![
            IdentityField::new(FieldKind::BirthName, "nom_naissance"),
            IdentityField::new(FieldKind::GivenNames, "prenoms"),
            IdentityField::new(FieldKind::BirthDate, "date_naissance"),
        ];
        for (kind, column) in [
            (FieldKind::Sex, "sexe"),
            (FieldKind::Text, "suburb"),
            (FieldKind::Text, "address_1"),
            // A postcode of any country is text, for one with a wrong digit still looks near; a French one is a commune.
            (FieldKind::Text, "postcode"),
            (FieldKind::Category, "code_postal"),
        ] {
            if has(column) {
                fields.push(IdentityField::new(kind, column));
            }
        }
        (Identity { field: fields }, "generic-1", Vec::new())
    }
}

/// An agreement among the parties for files of these sizes, with the fields that they hold.
pub fn agreement<'m>(
    sizes: &[(PartyId, u64)],
    mappings: impl Iterator<Item = &'m Mapping>,
    secrets: &Secrets,
) -> anyhow::Result<Agreement> {
    let (identity, pass_set, attributes) = fields(mappings);
    let id: PartyId = "essai".parse()?;
    let term = Term {
        start: jiff::civil::date(2000, 1, 1),
        end: jiff::civil::date(2099, 12, 31),
        first_period: Period::new(2000, 1).ok_or_else(|| anyhow::anyhow!("period"))?,
    };
    let limits: Vec<(PartyId, u64)> = sizes.iter().map(|(party, lines)| (party.clone(), (lines * ROOM).max(1000))).collect();
    let mut members = secrets.members(&id, &limits)?;
    if members.party.len() == 1 {
        // An agreement has two partners; a list compared with itself alone takes a second name that brings nothing.
        let mut other = secrets.members(&id, &[("personne".parse()?, 1000)])?;
        members.party.append(&mut other.party);
    }
    let mut agreement =
        Agreement::for_trial(id, members, identity, attributes, term).ok_or_else(|| anyhow::anyhow!("no party"))?;
    agreement.encoding.pass_set = pass_set.to_owned();
    agreement.encoding.expected_records = sizes.iter().map(|s| s.1).sum::<u64>().max(1000);
    Ok(agreement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkage_node::intake::propose;

    #[test]
    fn a_postcode_of_any_country_is_text_and_a_french_one_a_category() {
        let folder = tempfile::tempdir().unwrap();
        let kind_of = |header: &str, column: &str| {
            let file = folder.path().join("liste.csv");
            let rows = format!(
                "rec_id,given_name,surname,date_of_birth,{header}\n1,ada,brown,19620708,2100\n2,eve,jones,19710102,3056\n"
            );
            linkage_common::fsx::write_atomic(&file, rows.as_bytes()).unwrap();
            let mapping = propose(&"liste".parse().unwrap(), &file).unwrap().mapping;
            let (identity, set, _) = fields(std::iter::once(&mapping));
            assert_eq!(set, "generic-1");
            identity.field.iter().find(|f| f.column == column).map(|f| f.kind)
        };
        assert_eq!(kind_of("postcode", "postcode"), Some(FieldKind::Text));
        assert_eq!(kind_of("code_postal", "code_postal"), Some(FieldKind::Category));
    }
}
