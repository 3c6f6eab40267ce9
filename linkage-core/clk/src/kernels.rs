//! Kernels: four filters against thirty-two, words interleaved, with whatever popcount the CPU has.
//!
//! Thirty-two filters stand side by side, word by word, so one vector holds the same word of several filters and sums stay in
//! its lanes: no horizontal addition but the last comparison. A block is left early when, after the first words, none of its
//! pairs can reach what is needed any more ([`Test`]). All kernels give the bits of the portable one (property test in
//! tests/properties.rs). This is the one module of the project with `unsafe`: loads from arrays of fixed size, and calls of
//! functions that need CPU features, through [`Kernel`] values that exist only where the features were found.
#![allow(unsafe_code)]

/// Filters of the first side that a kernel takes at once.
pub const ROWS: usize = 4;
/// Filters of the second side that a kernel takes at once.
pub const LANES: usize = 32;

/// One word of each of [`LANES`] filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Words(pub [u64; LANES]);

/// What the pairs of a block are tested for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// Bits that both filters of a pair must have set.
    pub need: u32,
    /// Words after which a kernel looks whether to go on.
    pub split: usize,
    /// Bits that a pair must have in common within the first `split` words to reach `need` with the others. A kernel goes on
    /// or not as it likes with pairs that have fewer: the caller makes sure that none of them reaches `need`.
    pub early: u32,
}

/// For each of four rows, the lanes that pass.
type Masks = [u32; ROWS];
type Run = unsafe fn(&[[u64; ROWS]], &[Words], Test) -> Masks;

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

    /// Bit `l` of mask `r` is set when `popcount(row r & lane l) >= test.need`. `rows` and `lanes` hold the words of one filter
    /// length; words that only one of them has count as zero.
    pub fn masks(self, rows: &[[u64; ROWS]], lanes: &[Words], test: Test) -> Masks {
        // SAFETY: the fields are private and `available` fills them in only after it has found the features that `run` needs.
        unsafe { (self.run)(rows, lanes, test) }
    }
}

/// Slices of rows and lanes before and after the split.
fn halves<'w>(rows: &'w [[u64; ROWS]], lanes: &'w [Words], test: Test) -> [(&'w [[u64; ROWS]], &'w [Words]); 2] {
    let length = rows.len().min(lanes.len());
    let (rows, lanes) = (rows.get(..length).unwrap_or_default(), lanes.get(..length).unwrap_or_default());
    let split = test.split.min(length);
    let ((r, s), (l, m)) = (rows.split_at(split), lanes.split_at(split));
    [(r, l), (s, m)]
}

fn portable(rows: &[[u64; ROWS]], lanes: &[Words], test: Test) -> Masks {
    scalar(rows, lanes, test)
}

/// Lane after lane, so that the four sums stay in registers.
#[inline(always)]
fn scalar(rows: &[[u64; ROWS]], lanes: &[Words], test: Test) -> Masks {
    let [head, tail] = halves(rows, lanes, test);
    let mut masks = [0; ROWS];
    for lane in 0..LANES {
        let mut counts = [0u32; ROWS];
        let mut add = |(rows, lanes): (&[[u64; ROWS]], &[Words])| {
            for (row, words) in rows.iter().zip(lanes) {
                let word = words.0[lane];
                for (count, row) in counts.iter_mut().zip(row) {
                    *count += (row & word).count_ones();
                }
            }
            counts
        };
        if add(head).iter().all(|count| *count < test.early) {
            continue;
        }
        for (mask, count) in masks.iter_mut().zip(add(tail)) {
            *mask |= u32::from(count >= test.need) << lane;
        }
    }
    masks
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Masks, ROWS, Test, Words, halves, scalar};

    #[target_feature(enable = "popcnt")]
    pub(super) fn popcnt(rows: &[[u64; ROWS]], lanes: &[Words], test: Test) -> Masks {
        scalar(rows, lanes, test)
    }

    const WIDE: usize = LANES / 8;
    type Sums = [[__m512i; WIDE]; ROWS];

    /// 4 x 32 sums in 16 registers of 8 x 64 bits.
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    pub(super) fn avx512(rows: &[[u64; ROWS]], lanes: &[Words], test: Test) -> Masks {
        let [head, tail] = halves(rows, lanes, test);
        let sums = wide_sums([[_mm512_setzero_si512(); WIDE]; ROWS], head.0, head.1);
        let most = sums.iter().flatten().fold(_mm512_setzero_si512(), |most, sum| _mm512_max_epu64(most, *sum));
        if _mm512_cmpge_epu64_mask(most, _mm512_set1_epi64(test.early.into())) == 0 {
            return [0; ROWS];
        }
        let sums = wide_sums(sums, tail.0, tail.1);
        let need = _mm512_set1_epi64(test.need.into());
        let mut masks = [0; ROWS];
        for (mask, sums) in masks.iter_mut().zip(&sums) {
            for (at, sum) in sums.iter().enumerate() {
                *mask |= u32::from(_mm512_cmpge_epu64_mask(*sum, need)) << (8 * at);
            }
        }
        masks
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn wide_sums(mut sums: Sums, rows: &[[u64; ROWS]], lanes: &[Words]) -> Sums {
        for (row, words) in rows.iter().zip(lanes) {
            let (vectors, _) = words.0.as_chunks::<8>();
            let mut loaded = [_mm512_setzero_si512(); WIDE];
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
        sums
    }

    const NARROW: usize = LANES / 4;

    /// Row after row: 32 sums in 8 registers of 4 x 64 bits.
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(rows: &[[u64; ROWS]], lanes: &[Words], test: Test) -> Masks {
        let [head, tail] = halves(rows, lanes, test);
        // Greater than one less; counts stay below 2^16, so the greatest of 32-bit halves is that of the whole.
        let below = |bound: u32| _mm256_set1_epi64x(i64::from(bound) - 1);
        let (early, need) = (below(test.early), below(test.need));
        let mut masks = [0; ROWS];
        for (r, mask) in masks.iter_mut().enumerate() {
            let sums = narrow_sums([_mm256_setzero_si256(); NARROW], r, head.0, head.1);
            let most = sums.iter().fold(_mm256_setzero_si256(), |most, sum| _mm256_max_epi32(most, *sum));
            if _mm256_testz_si256(_mm256_cmpgt_epi64(most, early), _mm256_set1_epi8(-1)) == 1 {
                continue;
            }
            for (at, sum) in narrow_sums(sums, r, tail.0, tail.1).iter().enumerate() {
                let passed = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(*sum, need)));
                *mask |= passed.cast_unsigned() << (4 * at);
            }
        }
        masks
    }

    /// Popcount of each byte by two table look-ups (Muła, Kurz, Lemire 2018, section 2); bytes are summed over at most
    /// 31 words, 8 bits each, before they could overflow.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn narrow_sums(mut sums: [__m256i; NARROW], r: usize, rows: &[[u64; ROWS]], lanes: &[Words]) -> [__m256i; NARROW] {
        let table = _mm256_setr_epi8(
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, //
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
        );
        let low = _mm256_set1_epi8(0x0f);
        let zero = _mm256_setzero_si256();
        for (rows, lanes) in rows.chunks(31).zip(lanes.chunks(31)) {
            let mut bytes = [zero; NARROW];
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
        sums
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::{LANES, Masks, ROWS, Test, Words, halves};

    const VECTORS: usize = LANES / 2;

    /// Row after row: 32 sums in 16 registers of 2 x 64 bits.
    #[target_feature(enable = "neon")]
    pub(super) fn neon(rows: &[[u64; ROWS]], lanes: &[Words], test: Test) -> Masks {
        let [head, tail] = halves(rows, lanes, test);
        let (early, need) = (vdupq_n_u64(test.early.into()), vdupq_n_u64(test.need.into()));
        let mut masks = [0; ROWS];
        for (r, mask) in masks.iter_mut().enumerate() {
            let sums = sums([vdupq_n_u64(0); VECTORS], r, head.0, head.1);
            let any = sums.iter().fold(vdupq_n_u64(0), |any, sum| vorrq_u64(any, vcgeq_u64(*sum, early)));
            if vgetq_lane_u64::<0>(any) | vgetq_lane_u64::<1>(any) == 0 {
                continue;
            }
            for (at, sum) in self::sums(sums, r, tail.0, tail.1).into_iter().enumerate() {
                let passed = vcgeq_u64(sum, need);
                for (lane, passed) in (2 * at..).zip([vgetq_lane_u64::<0>(passed), vgetq_lane_u64::<1>(passed)]) {
                    *mask |= u32::from(passed != 0) << lane;
                }
            }
        }
        masks
    }

    /// `cnt` counts in bytes, summed over at most 31 words before they are widened to 64 bits.
    #[inline]
    #[target_feature(enable = "neon")]
    fn sums(mut sums: [uint64x2_t; VECTORS], r: usize, rows: &[[u64; ROWS]], lanes: &[Words]) -> [uint64x2_t; VECTORS] {
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
        sums
    }
}
