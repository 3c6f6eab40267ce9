//! What the tests of this crate share.

use linkage_agreement::{Agreement, PartyId};
use linkage_cohort::PublicTable;
use linkage_crypto::signing::SigningKey;

/// An agreement of the template's terms and, where `parties` are given, of these with these signing keys.
pub(crate) fn agreement(parties: &[(&str, &SigningKey)]) -> Agreement {
    let mut document: toml::Table = toml::from_str(&linkage_agreement::template_fr()).unwrap();
    let set = |table: &mut toml::Value, key: &str, value: &str| {
        let _ = table.as_table_mut().unwrap().insert(key.to_owned(), value.into());
    };
    for (key, value) in
        [("id", "essai"), ("start", "2024-01-01"), ("end", "2029-12-31"), ("first_period", "2024-01"), ("coordinator", "ccas")]
    {
        set(document.get_mut("agreement").unwrap(), key, value);
    }
    for (list, names) in [("party", &["ccas", "siao"][..]), ("analyst", &["etude"])] {
        for (entry, name) in document.get_mut(list).unwrap().as_array_mut().unwrap().iter_mut().zip(names) {
            set(entry, "id", name);
        }
    }
    let mut agreement: Agreement = document.try_into().unwrap();
    if !parties.is_empty() {
        let model = agreement.party[0].clone();
        let named = |(name, key): &(&str, &SigningKey)| {
            let mut party = model.clone();
            (party.id, party.signing_key) = (name.parse::<PartyId>().unwrap(), key.verifying_key().to_base64());
            party
        };
        agreement.party = parties.iter().map(named).collect();
    }
    agreement
}

/// A table of one month and one figure. Tables are made by disclosure control alone; a test reads one back.
pub(crate) fn table(title: &str) -> PublicTable {
    serde_json::from_value(serde_json::json!({
        "title": title, "unit": "persons", "measure": "count", "method": "suppression", "minimum": 11, "notes": [],
        "dimensions": [{ "name": "period", "categories": [{ "value": "2024-01" }], "partition": false }],
        "cells": [{ "cell": "value", "value": 120.0, "interval": [110.5, 131.25], "uncertain": false }],
    }))
    .unwrap()
}
