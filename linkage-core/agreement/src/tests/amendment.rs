//! What may follow what: versions, and epochs of the OPRF key.

use super::faults::faults;
use super::{agreement, id, parsed};
use crate::{Agreement, AmendmentFault, ParsedAgreement, keys};

/// The base point of ristretto255 (RFC 9496, appendix A.1), a key that is not the fixture's.
const OTHER_KEY: &str = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76";

fn next(alter: impl FnOnce(&mut Agreement)) -> Agreement {
    let mut next = agreement();
    next.agreement.version = 2;
    alter(&mut next);
    next
}

fn new_key(agreement: &mut Agreement, epoch: u32) {
    agreement.custodian.oprf_public_key = keys::encode(&hex::decode(OTHER_KEY).unwrap());
    agreement.encoding.oprf_epoch = Some(epoch);
}

#[test]
fn an_absent_epoch_is_the_first_and_leaves_no_trace_in_text_or_hash() {
    assert_eq!(agreement().oprf_epoch(), 1);
    let text = agreement().to_toml();
    assert!(!text.contains("oprf_epoch"));
    let second = next(|a| new_key(a, 2));
    let read = ParsedAgreement::parse(&second.to_toml(), "avenant.toml").unwrap();
    assert_eq!((read.agreement(), read.agreement().oprf_epoch()), (&second, 2));
    let written = ParsedAgreement::parse(&text.replace("block_cap", "oprf_epoch = 1\nblock_cap"), "x").unwrap();
    assert_eq!(written.agreement().oprf_epoch(), 1);
    assert_ne!(written.hash(), parsed().hash(), "a key that is written is part of the text");
}

#[test]
fn an_epoch_out_of_range_is_a_fault() {
    for wrong in ["0", "101", "\"2\""] {
        let text = agreement().to_toml().replace("block_cap", &format!("oprf_epoch = {wrong}\nblock_cap"));
        let found = faults(&text);
        assert_eq!((found.len(), found[0].path.as_str()), (1, "encoding.oprf_epoch"), "{wrong}");
    }
}

#[test]
fn an_amendment_raises_the_epoch_by_one_with_a_new_key_or_leaves_both() {
    let faults = |amendment: &Agreement| amendment.amendment_faults(&agreement());
    assert_eq!(faults(&next(|_| {})), []);
    assert_eq!(faults(&next(|a| new_key(a, 2))), []);
    assert_eq!(faults(&next(|a| a.encoding.oprf_epoch = Some(1))), []);
    assert_eq!(faults(&next(|a| new_key(a, 3))), [AmendmentFault::Epoch { former: 1, found: 3 }]);
    assert_eq!(faults(&next(|a| new_key(a, 1))), [AmendmentFault::KeyWithoutEpoch]);
    assert_eq!(faults(&next(|a| a.encoding.oprf_epoch = Some(2))), [AmendmentFault::EpochWithoutKey]);
    assert_eq!(faults(&agreement()), [AmendmentFault::Version { former: 1, found: 1 }]);
    assert_eq!(faults(&next(|a| a.agreement.id = id("autre"))), [AmendmentFault::OtherAgreement]);
    let second = next(|a| new_key(a, 2));
    let mut back = agreement();
    back.agreement.version = 3;
    assert_eq!(back.amendment_faults(&second), [AmendmentFault::Epoch { former: 2, found: 1 }]);
    for fault in faults(&next(|a| new_key(a, 3))) {
        assert!(fault.french().contains("oprf_epoch = 2"), "{}", fault.french());
    }
}
