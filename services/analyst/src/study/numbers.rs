//! Dense numbers of persons, records and households: 16-byte names in a row, a name's number its place.

use std::collections::HashMap;

use linkage_agreement::{PartyId, Pseudonym};
use sha2::{Digest, Sha256};

use super::Broken;

/// Names and their numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    names: Vec<[u8; 16]>,
    numbers: HashMap<[u8; 16], u32>,
}

impl Numbers {
    /// Reads names back.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Broken> {
        let names = names(bytes)?;
        let numbers = names.iter().zip(0..).map(|(name, number)| (*name, number)).collect();
        Ok(Self { names, numbers })
    }
    /// The names, one after the other.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.names.concat()
    }
    /// Puts a name that `draw` gives in place of each one whose number is not `used`.
    pub(super) fn blank_all_but(&mut self, used: &[bool], draw: &mut impl FnMut() -> [u8; 16]) {
        for (at, name) in self.names.iter_mut().enumerate() {
            if used.get(at) != Some(&true) {
                self.numbers.remove(name);
                *name = draw();
            }
        }
    }
    /// Gives the name that has a number another one, which nobody has.
    pub(super) fn rename(&mut self, number: u32, name: [u8; 16]) {
        if let Some(held) = self.names.get_mut(number as usize) {
            self.numbers.remove(held);
            *held = name;
            self.numbers.insert(name, number);
        }
    }
    /// The number of a name that has one.
    pub(super) fn known(&self, name: &Pseudonym) -> Option<u32> {
        self.numbers.get(&name.0).copied()
    }
    /// The number of a name, the next one for a new name.
    pub(super) fn of(&mut self, name: [u8; 16]) -> u32 {
        *self.numbers.entry(name).or_insert_with(|| {
            self.names.push(name);
            (self.names.len() - 1) as u32
        })
    }
}

/// Names as they lie in a file.
pub(super) fn names(bytes: &[u8]) -> Result<Vec<[u8; 16]>, Broken> {
    let (names, rest) = bytes.as_chunks::<16>();
    if rest.is_empty() { Ok(names.to_vec()) } else { Err(Broken::Damaged("numbers".to_owned())) }
}

/// The name of a party's household: parties choose theirs apart from each other, and two may choose the same.
pub(super) fn household(party: &PartyId, name: &str) -> [u8; 16] {
    let digest = Sha256::new().chain_update(party.as_str()).chain_update([0]).chain_update(name).finalize();
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}
