//! Products of bytes by AVX-512 VNNI.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _CMP_GE_OQ, _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_fmsub_ps, _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_ps,
};

use super::{Asking, Coefficients, QUERIES, ROWS, STRIDE, Scores};

/// Rows of a register.
const LANES: usize = 16;

/// That this processor has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proof(());

impl Proof {
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }
}

/// As [`Kernel::score`](super::Kernel::score), which checks the lengths.
pub(super) fn score(
    _: Proof,
    panel: &[u8],
    words: &[i32],
    of: (Coefficients<'_>, &Asking),
    out: &mut Scores,
) {
    // SAFETY: a `Proof` is made only where the processor has the features of the function.
    unsafe { scored(panel, words, of, out) }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn scored(
    panel: &[u8],
    words: &[i32],
    (rows, asking): (Coefficients<'_>, &Asking),
    out: &mut Scores,
) {
    let mut sums = [[_mm512_setzero_si512(); 2]; QUERIES];
    for (stride, words) in panel.chunks_exact(STRIDE).zip(words.chunks_exact(QUERIES)) {
        let [low, high] = [0, STRIDE / 2].map(|at| {
            // SAFETY: a stride has two vectors' bytes, and loads need no alignment.
            unsafe { _mm512_loadu_si512(stride[at..].as_ptr().cast::<__m512i>()) }
        });
        for (sums, &word) in sums.iter_mut().zip(words) {
            let word = _mm512_set1_epi32(word);
            sums[0] = _mm512_dpbusd_epi32(sums[0], low, word);
            sums[1] = _mm512_dpbusd_epi32(sums[1], high, word);
        }
    }
    for (half, at) in [0, LANES].into_iter().enumerate() {
        let of = |values: &[f32; ROWS]| {
            // SAFETY: `at` and the lanes of a vector from there on are within the rows of a panel.
            unsafe { _mm512_loadu_ps(values[at..at + LANES].as_ptr()) }
        };
        let (own, factor, part) = (of(rows.own), of(rows.factor), of(rows.part));
        for (j, sums) in sums.iter().enumerate() {
            let product = _mm512_cvtepi32_ps(sums[half]);
            let shift = _mm512_set1_ps(asking.shift[j]);
            let inner = _mm512_fmsub_ps(_mm512_set1_ps(asking.factor[j]), product, shift);
            let score = _mm512_mul_ps(own, _mm512_set1_ps(asking.own[j]));
            let score = _mm512_fmadd_ps(factor, inner, score);
            let score = _mm512_fnmadd_ps(part, _mm512_set1_ps(asking.part[j]), score);
            let least = _mm512_set1_ps(asking.least[j]);
            let reached = u32::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(score, least));
            match half {
                0 => out.reached[j] = reached,
                _ => out.reached[j] |= reached << LANES,
            }
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(out.all[j][at..at + LANES].as_mut_ptr(), score) }
        }
    }
}
