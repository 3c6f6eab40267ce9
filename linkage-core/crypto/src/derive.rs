//! Block secrets, run keys and the keys of an entry.
//!
//! A *block secret* x is what the members of one block share; whoever holds it can make the block's filters, so it
//! never leaves the node. Stage 1 (names present) uses [`BlockSecret::field_key`]; stage 2 (one run, no names) uses
//! [`RunKey::entry_keys`], which depends on the run, so that tokens and bits of two runs cannot be
//! compared (what two runs still have in common: docs/threat-model.md, broker).

use std::mem::ManuallyDrop;
use std::sync::LazyLock;

use aes::Aes128Enc;
use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherEncClosure, BlockCipherEncrypt, KeyInit};
use zeroize::Zeroizing;

use crate::mac::{Keyed, MessageBlock, erase, one_block};
use crate::oprf::OprfOutput;
use crate::secret::{drawn_at_random, hkdf32, redacted, secret_bytes};
use crate::{AgreementHash, label};

/// One block of the pseudo-random function: 16 bytes, `Block::from([u8; 16])`.
pub type Block = aes::Block;

secret_bytes!(
    /// The secret of one block, the same at every partner that holds a member of it.
    BlockSecret, 32
);
// A padding entry has a random block secret, so that no one shares its token.
drawn_at_random!(BlockSecret);

impl BlockSecret {
    /// x = HMAC-SHA256(OPRF output, label("block")).
    pub fn from_oprf(output: &OprfOutput) -> Self {
        Self(Keyed::new(output.as_bytes()).mac(&[label!("block")]))
    }
    /// x without a custodian: HMAC-SHA256(shared key, label("block-shared") ‖ 0x00 ‖ input). Whoever holds the shared
    /// key can try every input: for trials only.
    pub fn shared(key: &SharedKey, input: &[u8]) -> Self {
        match input.strip_prefix(INPUT_HEAD) {
            Some(rest) => Self(key.begun.mac(&[rest])),
            None => Self(key.keyed.mac(&[label!("block-shared"), &[0], input])),
        }
    }
    /// The key of the block's field filters, stage 1: HMAC-SHA256(x, label("field filters"))[..16].
    pub fn field_key(&self) -> PrfKey {
        let mut mac = Keyed::new(&self.0).mac(&[label!("field filters")]);
        let key = PrfKey::from_half(&mac, 0);
        erase(&mut mac);
        key
    }
}

/// What every input of a block key begins with.
const INPUT_HEAD: &[u8] = label!("input");

/// The first block of the message of every block key: label, 0x00 and [`INPUT_HEAD`] fill it.
const SHARED_HEAD: MessageBlock = {
    let label = label!("block-shared");
    assert!(label.len() + 1 + INPUT_HEAD.len() == 64);
    let mut block = [0; 64];
    let mut at = 0;
    while at < block.len() {
        if at < label.len() {
            block[at] = label[at];
        } else if at > label.len() {
            block[at] = INPUT_HEAD[at - label.len() - 1];
        }
        at += 1;
    }
    block
};

/// The key that stands for the OPRF in a trial without custodian.
pub struct SharedKey {
    keyed: Keyed,
    /// After [`SHARED_HEAD`].
    begun: Keyed,
}
redacted!(SharedKey);

impl SharedKey {
    /// Takes 32 secret bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let keyed = Keyed::new(bytes);
        Self { begun: keyed.begun(&SHARED_HEAD), keyed }
    }
    /// Draws a fresh key.
    pub fn generate<R: rand_core::CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self::from_bytes(&bytes)
    }
}

/// A run's key, K_run, held as a keyed HMAC state that is ready for [`RunKey::entry_keys`].
#[derive(Clone)]
pub struct RunKey(Keyed);
redacted!(RunKey);

impl RunKey {
    /// K_run = HKDF-SHA256(salt = agreement hash, ikm = K_group, info = label("run") ‖ 0x00 ‖ run id).
    pub(crate) fn derive(agreement: &AgreementHash, group: &[u8; 32], run_id: &str) -> Self {
        Self::from_bytes(&Zeroizing::new(hkdf32(agreement, group, &[label!("run"), &[0], run_id.as_bytes()])))
    }
    /// Takes the 32 bytes of K_run.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Keyed::new(bytes))
    }
    /// The message x ‖ 0x01 as the one block that it is, given x.
    #[inline]
    pub(crate) fn entry_block(secret: &[u8; BlockSecret::LEN]) -> MessageBlock {
        const PADDED: MessageBlock = {
            let mut block = one_block(BlockSecret::LEN + 1);
            block[BlockSecret::LEN] = 1;
            block
        };
        let mut block = PADDED;
        let (room, _) = block.split_at_mut(BlockSecret::LEN);
        room.copy_from_slice(secret);
        block
    }
    /// The keyed state, for steps that are taken one by one.
    pub(crate) fn keyed(&self) -> &Keyed {
        &self.0
    }
    /// An entry's token and the key of its stage-2 permutation: the halves of HMAC-SHA256(K_run, x ‖ 0x01).
    pub fn entry_keys(&self, block: &BlockSecret) -> ([u8; 16], PrfKey) {
        let mut mac = self.0.mac(&[block.as_bytes(), &[1]]);
        let mut token = [0; 16];
        token.copy_from_slice(&mac[..16]);
        let key = PrfKey::from_half(&mac, 16);
        erase(&mut mac);
        (token, key)
    }
    /// What the bits of clkhash filters are moved or mixed by in this run, one key for all of them:
    /// HMAC-SHA256(K_run, label("clk")).
    pub fn clk_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.mac(&[label!("clk")]))
    }
    /// A keyed hash key of the profile `hash-keys`: HMAC-SHA256(K_run, "linkage/hash-keys/1/" ‖ kind ‖ 0x00 ‖ text).
    pub fn hash_key(&self, kind: HashKeyKind, text: &str) -> [u8; 32] {
        let kind: &[u8] = match kind {
            HashKeyKind::Primary => b"primary",
            HashKeyKind::Secondary => b"secondary",
        };
        self.0.mac(&[b"linkage/hash-keys/1/", kind, &[0], text.as_bytes()])
    }
}

/// Which of a record's two hash keys: the kinds never meet under one run key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashKeyKind {
    /// Of name, given name and date.
    Primary,
    /// Of name, month and year.
    Secondary,
}

/// AES-128 as a pseudo-random function on 16-byte blocks (FIPS 197; hardware instructions where there are any).
pub struct PrfKey(ManuallyDrop<Aes128Enc>);
redacted!(PrfKey);

impl PrfKey {
    /// Takes 16 secret bytes.
    pub fn from_bytes(bytes: &[u8; 16]) -> Self {
        Self(ManuallyDrop::new(Aes128Enc::new(&(*bytes).into())))
    }
    /// The function at one block.
    pub fn prf(&self, block: &[u8; 16]) -> [u8; 16] {
        let mut block = Block::from(*block);
        self.0.encrypt_block(&mut block);
        block.into()
    }
    /// The function at every block, in place; several are computed side by side.
    pub fn prf_blocks(&self, blocks: &mut [Block]) {
        self.0.encrypt_blocks(blocks);
    }

    /// The function at every block of `asked`, to `drawn`, which is as long.
    #[inline]
    pub(crate) fn prf_blocks_to(&self, asked: &[Block], drawn: &mut [Block]) {
        let as_long = self.0.encrypt_blocks_b2b(asked, drawn);
        debug_assert!(as_long.is_ok());
    }
    /// Lets `closure` have the cipher as often as it needs it.
    #[inline]
    pub(crate) fn visit(&self, closure: impl BlockCipherEncClosure<BlockSize = U16>) {
        self.0.encrypt_with_backend(closure);
    }
    /// Takes the place of the key that was here, whose round keys are overwritten, by the second half of a MAC.
    #[inline]
    pub(crate) fn renew(&mut self, mac: &[u8; 32]) {
        let [_, half] = mac.as_chunks::<16>().0 else { return };
        self.0 = ManuallyDrop::new(Aes128Enc::new(half.into()));
    }
    #[inline]
    pub(crate) fn from_half(mac: &[u8; 32], at: usize) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&mac[at..at + 16]);
        let key = Self::from_bytes(&half);
        erase(&mut half);
        key
    }
}

/// The round keys are overwritten by those of a key that is no secret, which is one copy; the cipher's own erasure
/// writes byte by byte and takes as long as twenty blocks.
impl Drop for PrfKey {
    fn drop(&mut self) {
        static NO_SECRET: LazyLock<Aes128Enc> = LazyLock::new(|| Aes128Enc::new(&[0; 16].into()));
        self.0 = ManuallyDrop::new(NO_SECRET.clone());
        zeroize::optimization_barrier(self);
    }
}
