//! Kernels: four filters against thirty-two, words interleaved, with whatever popcount the CPU has.
//!
//! Thirty-two filters stand side by side, word by word, so one vector holds the same word of several filters and sums stay in
//! its lanes: no horizontal addition but the last comparison. The test is on integers in fixed point, `count << SHIFT >=
//! part(a) + part(b)`; the caller makes the parts so that no pair that reaches the threshold is lost. All kernels give the bits
//! of the portable one (property test in tests/properties.rs). This is the one module of the project with `unsafe`: loads
//! from arrays of fixed size, and calls of functions that need CPU features, through [`Kernel`] values that exist only
//! where the features were found.
#![allow(unsafe_code)]

/// Filters of the first side that a kernel takes at once.
pub const ROWS: usize = 4;
/// Filters of the second side that a kernel takes at once.
pub const LANES: usize = 32;
/// Binary places of the fixed point. Counts stay below 2^16, so sums stay below 2^37.
pub(crate) const SHIFT: u32 = 20;

/// One word of each of [`LANES`] filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Words(pub [u64; LANES]);

/// For each of four rows, the lanes that pass.
type Masks = [u32; ROWS];
type Run = unsafe fn(&[[u64; ROWS]], &[i64; ROWS], &[Words], &[i64; LANES]) -> Masks;

/// A kernel that this CPU can run.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    name: &'static str,
    run: Run,
}

impl Kernel {
    /// The kernels that this CPU can run, best first. The last is the portable one.
    pub fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq") {
                kernels.push(Self { name: "avx512-vpopcntdq", run: x86::avx512 });
            }
            if is_x86_feature_detected!("avx2") {
                kernels.push(Self { name: "avx2", run: x86::avx2 });
            }
            if is_x86_feature_detected!("popcnt") {
                kernels.push(Self { name: "popcnt", run: x86::popcnt });
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            kernels.push(Self { name: "neon", run: arm::neon });
        }
        kernels.push(Self::portable());
        kernels
    }

    /// The kernel for every CPU.
    pub fn portable() -> Self {
        Self { name: "portable", run: portable }
    }

    /// The fastest that this CPU can run.
    pub fn best() -> Self {
        Self::available().into_iter().next().unwrap_or_else(Self::portable)
    }

    /// The instructions that it uses.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Bit `l` of mask `r` is set when `popcount(row r & lane l) << 20 >= row_parts[r] + lane_parts[l]`. `rows` and `lanes` hold
    /// the words of one filter length; words that only one of them has count as zero.
    pub fn masks(self, rows: &[[u64; ROWS]], row_parts: &[i64; ROWS], lanes: &[Words], lane_parts: &[i64; LANES]) -> Masks {
        // SAFETY: the fields are private and `available` fills them in only after it has found the features that `run` needs.
        unsafe { (self.run)(rows, row_parts, lanes, lane_parts) }
    }
}

fn portable(rows: &[[u64; ROWS]], row_parts: &[i64; ROWS], lanes: &[Words], lane_parts: &[i64; LANES]) -> Masks {
    scalar(rows, row_parts, lanes, lane_parts)
}

/// Lane after lane, so that the four sums stay in registers.
#[inline(always)]
fn scalar(rows: &[[u64; ROWS]], row_parts: &[i64; ROWS], lanes: &[Words], lane_parts: &[i64; LANES]) -> Masks {
    let mut masks = [0; ROWS];
    for (lane, lane_part) in lane_parts.iter().enumerate() {
        let mut counts = [0u32; ROWS];
        for (row, words) in rows.iter().zip(lanes) {
            let word = words.0[lane];
            for (count, row) in counts.iter_mut().zip(row) {
                *count += (row & word).count_ones();
            }
        }
        for ((mask, count), row_part) in masks.iter_mut().zip(counts).zip(row_parts) {
            *mask |= u32::from(i64::from(count) << SHIFT >= row_part + lane_part) << lane;
        }
    }
    masks
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Masks, ROWS, SHIFT, Words, scalar};

    #[target_feature(enable = "popcnt")]
    pub(super) fn popcnt(rows: &[[u64; ROWS]], row_parts: &[i64; ROWS], lanes: &[Words], lane_parts: &[i64; LANES]) -> Masks {
        scalar(rows, row_parts, lanes, lane_parts)
    }

    /// 4 x 32 sums in 16 registers of 8 x 64 bits.
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    pub(super) fn avx512(rows: &[[u64; ROWS]], row_parts: &[i64; ROWS], lanes: &[Words], lane_parts: &[i64; LANES]) -> Masks {
        const VECTORS: usize = LANES / 8;
        let mut sums = [[_mm512_setzero_si512(); VECTORS]; ROWS];
        for (row, words) in rows.iter().zip(lanes) {
            let (vectors, _) = words.0.as_chunks::<8>();
            let mut loaded = [_mm512_setzero_si512(); VECTORS];
            for (to, from) in loaded.iter_mut().zip(vectors) {
                // SAFETY: `from` is a reference to 64 bytes, and the load needs no alignment.
                *to = unsafe { _mm512_loadu_si512(from.as_ptr().cast()) };
            }
            for (sums, word) in sums.iter_mut().zip(row) {
                let word = _mm512_set1_epi64(word.cast_signed());
                for (sum, loaded) in sums.iter_mut().zip(&loaded) {
                    *sum = _mm512_add_epi64(*sum, _mm512_popcnt_epi64(_mm512_and_si512(*loaded, word)));
                }
            }
        }
        let (lane_parts, _) = lane_parts.as_chunks::<8>();
        let mut masks = [0; ROWS];
        for ((mask, sums), row_part) in masks.iter_mut().zip(&sums).zip(row_parts) {
            let row_part = _mm512_set1_epi64(*row_part);
            for (at, (sum, lane_part)) in sums.iter().zip(lane_parts).enumerate() {
                // SAFETY: `lane_part` is a reference to 64 bytes, and the load needs no alignment.
                let lane_part = unsafe { _mm512_loadu_si512(lane_part.as_ptr().cast()) };
                let needed = _mm512_add_epi64(row_part, lane_part);
                let passed = _mm512_cmpge_epi64_mask(_mm512_slli_epi64::<SHIFT>(*sum), needed);
                *mask |= u32::from(passed) << (8 * at);
            }
        }
        masks
    }

    /// Popcount of each byte by two table look-ups (Muła, Kurz, Lemire 2018, section 2); bytes are summed over at most
    /// 31 words, 8 bits each, before they could overflow.
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(rows: &[[u64; ROWS]], row_parts: &[i64; ROWS], lanes: &[Words], lane_parts: &[i64; LANES]) -> Masks {
        const VECTORS: usize = LANES / 4;
        let table = _mm256_setr_epi8(
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, //
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
        );
        let low = _mm256_set1_epi8(0x0f);
        let zero = _mm256_setzero_si256();
        let (lane_parts, _) = lane_parts.as_chunks::<4>();
        let mut masks = [0; ROWS];
        for (r, (mask, row_part)) in masks.iter_mut().zip(row_parts).enumerate() {
            let mut sums = [zero; VECTORS];
            for (rows, lanes) in rows.chunks(31).zip(lanes.chunks(31)) {
                let mut bytes = [zero; VECTORS];
                for (row, words) in rows.iter().zip(lanes) {
                    let word = _mm256_set1_epi64x(row[r].cast_signed());
                    let (vectors, _) = words.0.as_chunks::<4>();
                    for (bytes, vector) in bytes.iter_mut().zip(vectors) {
                        // SAFETY: `vector` is a reference to 32 bytes, and the load needs no alignment.
                        let both = _mm256_and_si256(unsafe { _mm256_loadu_si256(vector.as_ptr().cast()) }, word);
                        let lower = _mm256_shuffle_epi8(table, _mm256_and_si256(both, low));
                        let upper = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(both), low));
                        *bytes = _mm256_add_epi8(*bytes, _mm256_add_epi8(lower, upper));
                    }
                }
                for (sum, bytes) in sums.iter_mut().zip(&bytes) {
                    *sum = _mm256_add_epi64(*sum, _mm256_sad_epu8(*bytes, zero));
                }
            }
            let row_part = _mm256_set1_epi64x(*row_part);
            for (at, (sum, lane_part)) in sums.iter().zip(lane_parts).enumerate() {
                // SAFETY: `lane_part` is a reference to 32 bytes, and the load needs no alignment.
                let lane_part = unsafe { _mm256_loadu_si256(lane_part.as_ptr().cast()) };
                let needed = _mm256_add_epi64(row_part, lane_part);
                let failed = _mm256_cmpgt_epi64(needed, _mm256_slli_epi64::<{ SHIFT as i32 }>(*sum));
                let failed = _mm256_movemask_pd(_mm256_castsi256_pd(failed));
                *mask |= (!failed.cast_unsigned() & 0xf) << (4 * at);
            }
        }
        masks
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::{LANES, Masks, ROWS, SHIFT, Words};

    /// `cnt` counts in bytes, summed over at most 31 words before they are widened to 64 bits.
    #[target_feature(enable = "neon")]
    pub(super) fn neon(rows: &[[u64; ROWS]], row_parts: &[i64; ROWS], lanes: &[Words], lane_parts: &[i64; LANES]) -> Masks {
        const VECTORS: usize = LANES / 2;
        let mut masks = [0; ROWS];
        for (r, (mask, row_part)) in masks.iter_mut().zip(row_parts).enumerate() {
            let mut sums = [vdupq_n_u64(0); VECTORS];
            for (rows, lanes) in rows.chunks(31).zip(lanes.chunks(31)) {
                let mut bytes = [vdupq_n_u8(0); VECTORS];
                for (row, words) in rows.iter().zip(lanes) {
                    let word = vdupq_n_u64(row[r]);
                    let (vectors, _) = words.0.as_chunks::<2>();
                    for (bytes, vector) in bytes.iter_mut().zip(vectors) {
                        // SAFETY: `vector` is a reference to 16 bytes, aligned as `u64` is.
                        let both = vandq_u64(unsafe { vld1q_u64(vector.as_ptr()) }, word);
                        *bytes = vaddq_u8(*bytes, vcntq_u8(vreinterpretq_u8_u64(both)));
                    }
                }
                for (sum, bytes) in sums.iter_mut().zip(bytes) {
                    *sum = vaddq_u64(*sum, vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes))));
                }
            }
            for (at, sum) in sums.into_iter().enumerate() {
                let counts = [vgetq_lane_u64::<0>(sum), vgetq_lane_u64::<1>(sum)];
                for (lane, count) in (2 * at..).zip(counts) {
                    *mask |= u32::from(count.cast_signed() << SHIFT >= row_part + lane_parts[lane]) << lane;
                }
            }
        }
        masks
    }
}
