//! Annexes for one run: the filter's bits moved or mixed, the hash keys keyed, all under the run's key.
//!
//! One and the same for all parties and records of the run, so that the broker can compare; another for another run, so
//! that it cannot tell whether two runs hold the same filter or key, nor try names without the run's key. What the broker
//! can still do with the filters of one run: docs/threat-model.md. docs/protocol.md, section 13; vectors in
//! tests/vectors/annex.json.

use linkage_agreement::{Agreement, AnnexPlaces};
use linkage_clk::{Diffusion, DiffusionError};
use linkage_crypto::derive::{HashKeyKind, PrfKey, RunKey};
use zeroize::{Zeroize, Zeroizing};

use crate::error::NodeError;

/// What becomes of annexes in one run.
pub struct RunAnnex {
    places: AnnexPlaces,
    clk: Bits,
    run: RunKey,
}

/// What becomes of a filter's bits.
enum Bits {
    /// No filter, or none that anything has to be done to.
    None,
    /// Bit `i` becomes bit `to[i]`.
    Moved(Zeroizing<Vec<u16>>),
    /// Every bit is the XOR of several.
    Mixed(Diffusion),
}

impl RunAnnex {
    /// The run's layer under `run`; none when the agreement has no annex.
    ///
    /// # Errors
    /// When the agreement's diffusion cannot be built.
    pub fn new(agreement: &Agreement, run: &RunKey) -> Result<Option<Self>, DiffusionError> {
        let places = agreement.annex();
        let clk = match &agreement.encoding.clk {
            None => Bits::None,
            Some(clk) if clk.diffusion == 0 => Bits::Moved(moves(run, clk.bits)),
            Some(clk) => {
                let t = u16::try_from(clk.diffusion).unwrap_or(u16::MAX);
                Bits::Mixed(Diffusion::new(&run.clk_key(), clk.bits as usize, t)?)
            }
        };
        Ok((places.len > 0).then(|| Self { places, clk, run: run.clone() }))
    }

    /// Puts an annex under the run's key, in place. Parts that are zero stay so. Gives whether anything was there.
    ///
    /// # Errors
    /// When the annex is not of the agreement's length.
    pub fn apply(&self, annex: &mut [u8]) -> Result<bool, NodeError> {
        let damaged = || NodeError::Damaged("annex".to_owned());
        if annex.len() != self.places.len {
            return Err(damaged());
        }
        let present = annex.iter().any(|byte| *byte != 0);
        if let Some(place) = &self.places.clk {
            let filter = annex.get_mut(place.clone()).ok_or_else(damaged)?;
            match &self.clk {
                Bits::None => {}
                Bits::Moved(to) => move_bits(to, filter),
                Bits::Mixed(layer) => layer.apply(filter).map_err(|_| damaged())?,
            }
        }
        if let Some(place) = &self.places.hash_keys {
            let keys = annex.get_mut(place.clone()).ok_or_else(damaged)?;
            for (key, kind) in keys.chunks_exact_mut(32).zip([HashKeyKind::Primary, HashKeyKind::Secondary]) {
                if key.iter().any(|byte| *byte != 0) {
                    let text = Zeroizing::new(hex::encode(&*key));
                    key.copy_from_slice(&self.run.hash_key(kind, &text));
                }
            }
        }
        Ok(present)
    }
}

/// Where each bit goes: bit `i` has the rank of AES_k(0x05 ‖ i) among all bits', k the first half of the run's key for
/// filters. AES is a bijection, so there are no ties.
fn moves(run: &RunKey, bits: u32) -> Zeroizing<Vec<u16>> {
    let key = run.clk_key();
    let mut half = Zeroizing::new([0; 16]);
    half.copy_from_slice(&key[..16]);
    let prf = PrfKey::from_bytes(&half);
    let mut order: Vec<([u8; 16], u16)> = (0..bits as u16)
        .map(|bit| {
            let mut block = [0; 16];
            block[0] = 5;
            block[1..3].copy_from_slice(&bit.to_le_bytes());
            (prf.prf(&block), bit)
        })
        .collect();
    order.sort_unstable();
    let mut to = Zeroizing::new(vec![0; order.len()]);
    for (rank, (value, bit)) in order.iter_mut().enumerate() {
        if let Some(place) = to.get_mut(usize::from(*bit)) {
            *place = rank as u16;
        }
        value.zeroize();
    }
    to
}

/// Bit `p` of a filter is byte `p / 8`, bit `p % 8` from the lowest.
fn move_bits(to: &[u16], filter: &mut [u8]) {
    let mut moved = Zeroizing::new(vec![0u8; filter.len()]);
    for (byte, places) in filter.iter().zip(to.chunks(8)) {
        let mut left = *byte;
        while left != 0 {
            if let Some(place) = places.get(left.trailing_zeros() as usize)
                && let Some(into) = moved.get_mut(usize::from(*place) / 8)
            {
                *into |= 1 << (place % 8);
            }
            left &= left - 1;
        }
    }
    filter.copy_from_slice(&moved);
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkage_agreement::model::{ClkEncoding, HashKeyEncoding};
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vectors {
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        run_key: String,
        bits: u32,
        diffusion: u32,
        clk_key: String,
        annex: String,
        sent: String,
    }

    fn agreement(bits: u32, diffusion: u32) -> Agreement {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/agreement/convention.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let mut agreement = linkage_agreement::ParsedAgreement::parse(&text, "convention.toml").unwrap().agreement().clone();
        agreement.encoding.clk = (bits > 0).then(|| ClkEncoding {
            schema_sha256: "00".repeat(32),
            bits,
            threshold_permille: 800,
            margin_permille: 0,
            diffusion,
            risk_accepted: true,
        });
        agreement.encoding.hash_keys = Some(HashKeyEncoding { keyed: false, risk_accepted: true });
        agreement
    }

    fn applied(run: &RunKey, bits: u32, diffusion: u32, annex: &[u8]) -> (Vec<u8>, bool) {
        let mut annex = annex.to_vec();
        let layer = RunAnnex::new(&agreement(bits, diffusion), run).unwrap().unwrap();
        let present = layer.apply(&mut annex).unwrap();
        (annex, present)
    }

    #[test]
    fn vectors() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/annex.json");
        let vectors: Vectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(vectors.cases.len() >= 3);
        for case in vectors.cases {
            let key: [u8; 32] = hex::decode(&case.run_key).unwrap().try_into().unwrap();
            let run = RunKey::from_bytes(&key);
            assert_eq!(hex::encode(*run.clk_key()), case.clk_key);
            let (sent, _) = applied(&run, case.bits, case.diffusion, &hex::decode(&case.annex).unwrap());
            assert_eq!(hex::encode(sent), case.sent, "{} bits, diffusion {}", case.bits, case.diffusion);
        }
    }

    #[test]
    fn bits_are_moved_alike_within_a_run_and_otherwise_in_another() {
        let (run, other) = (RunKey::from_bytes(&[1; 32]), RunKey::from_bytes(&[2; 32]));
        for bits in [64, 1024, 2048] {
            let mut places: Vec<u16> = moves(&run, bits).to_vec();
            assert_ne!(places, *moves(&other, bits));
            places.sort_unstable();
            assert_eq!(places, (0..bits as u16).collect::<Vec<_>>());
        }
        let len = 128 + 64;
        let one: Vec<u8> = (0..len).map(|i| (i * 37 % 251) as u8).collect();
        let two: Vec<u8> = (0..len).map(|i| (i * 91 % 241) as u8).collect();
        let ((a, _), (b, _)) = (applied(&run, 1024, 0, &one), applied(&run, 1024, 0, &two));
        let count = |x: &[u8], y: &[u8]| x[..128].iter().zip(&y[..128]).map(|(x, y)| (x & y).count_ones()).sum::<u32>();
        assert_eq!((count(&one, &two), count(&one, &one)), (count(&a, &b), count(&a, &a)));
        assert_ne!(a[..128], one[..128]);
        assert_ne!(a[..128], applied(&other, 1024, 0, &one).0[..128]);
        assert_ne!(a[128..160], applied(&other, 1024, 0, &one).0[128..160]);
    }

    #[test]
    fn what_is_absent_stays_absent() {
        let run = RunKey::from_bytes(&[1; 32]);
        for diffusion in [0, 8] {
            assert_eq!(applied(&run, 64, diffusion, &[0; 72]), (vec![0; 72], false));
            let mut keys_only = [0; 72];
            keys_only[40..].fill(9);
            let (sent, present) = applied(&run, 64, diffusion, &keys_only);
            assert_eq!((&sent[..40], present), ([0; 40].as_slice(), true));
            assert_ne!(sent[40..], keys_only[40..]);
        }
        let layer = RunAnnex::new(&agreement(64, 0), &run).unwrap().unwrap();
        assert!(layer.apply(&mut [0; 71]).is_err());
    }
}
