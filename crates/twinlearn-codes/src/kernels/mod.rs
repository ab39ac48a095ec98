//! The innermost loops of codes: turns of rows, and products of bytes of many rows with many queries.

mod turn;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub(crate) use turn::{Round, SIDE_BY_SIDE, turn, turn_back};

/// Rows of a panel: of each, four numbers lie side by side, then the next four of each.
pub(crate) const ROWS: usize = 32;
/// Queries of a group, four numbers of each side by side as a word.
pub(crate) const QUERIES: usize = 8;
/// Numbers side by side.
pub(crate) const NUMBERS: usize = 4;
/// Bytes of four numbers of all rows of a panel.
pub(crate) const STRIDE: usize = NUMBERS * ROWS;

/// What a panel's rows are scored by, one number for each: the score of a row and a query is
/// `own · query.own + factor · (query.factor · product − query.shift) − part · query.part`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coefficients<'a> {
    pub(crate) own: &'a [f32; ROWS],
    pub(crate) factor: &'a [f32; ROWS],
    pub(crate) part: &'a [f32; ROWS],
}

/// What a group's queries are scored by, one number for each, and the least score that counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    pub(crate) own: [f32; QUERIES],
    pub(crate) factor: [f32; QUERIES],
    pub(crate) shift: [f32; QUERIES],
    pub(crate) part: [f32; QUERIES],
    pub(crate) least: [f32; QUERIES],
}

/// The scores of a panel's rows with a group's queries, and as bits which reach the least.
#[derive(Clone, Debug)]
pub(crate) struct Scores {
    pub(crate) all: [[f32; ROWS]; QUERIES],
    pub(crate) reached: [u32; QUERIES],
}

impl Default for Scores {
    fn default() -> Self {
        Self { all: [[0.0; ROWS]; QUERIES], reached: [0; QUERIES] }
    }
}

/// A processor's way to score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Products of bytes in vectors of 64 (AVX-512 VNNI).
    #[cfg(target_arch = "x86_64")]
    Vnni(vnni::Proof),
    /// One after the other; for tests, as the search of floats is faster.
    #[cfg_attr(not(test), expect(dead_code, reason = "what others are compared with"))]
    Portable,
}

impl Kernel {
    /// The one for this processor, if it has one that is worth it.
    pub(crate) fn of_this_processor() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return vnni::Proof::new().map(Self::Vnni);
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Scores the rows of a panel (whole strides) with the queries of a group, whose words are as many
    /// times [`QUERIES`].
    pub(crate) fn score(
        self,
        panel: &[u8],
        words: &[i32],
        (rows, asking): (Coefficients<'_>, &Asking),
        out: &mut Scores,
    ) {
        assert_eq!(panel.len() / STRIDE * STRIDE, panel.len(), "whole strides");
        assert_eq!(panel.len() / STRIDE * QUERIES, words.len(), "a word for each query and stride");
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Vnni(proof) => vnni::score(proof, panel, words, (rows, asking), out),
            Self::Portable => portable(panel, words, (rows, asking), out),
        }
    }
}

fn portable(
    panel: &[u8],
    words: &[i32],
    (rows, asking): (Coefficients<'_>, &Asking),
    out: &mut Scores,
) {
    for j in 0..QUERIES {
        let mut products = [0_i32; ROWS];
        for (stride, words) in panel.chunks_exact(STRIDE).zip(words.chunks_exact(QUERIES)) {
            let query = words[j].to_le_bytes().map(|byte| i32::from(byte as i8));
            for (product, row) in products.iter_mut().zip(stride.chunks_exact(NUMBERS)) {
                *product += row.iter().zip(query).map(|(&a, b)| i32::from(a) * b).sum::<i32>();
            }
        }
        out.reached[j] = 0;
        for (i, &product) in products.iter().enumerate() {
            let inner = asking.factor[j] * product as f32 - asking.shift[j];
            let score = rows.own[i] * asking.own[j] + rows.factor[i] * inner
                - rows.part[i] * asking.part[j];
            out.all[j][i] = score;
            out.reached[j] |= u32::from(score >= asking.least[j]) << i;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_agree() {
        let Some(kernel) = Kernel::of_this_processor() else { return };
        for strides in [1, 2, 7, 33] {
            let panel: Vec<u8> = (0..strides * STRIDE).map(|i| (i * i % 251) as u8 + 5).collect();
            let words: Vec<i32> = (0..strides * QUERIES)
                .map(|i| (i as i32).wrapping_mul(0x9E37_79B9_u32 as i32))
                .collect();
            let of = |salt: usize| -> [f32; ROWS] {
                std::array::from_fn(|i| ((i * 31 + salt) % 17) as f32 / 17.0)
            };
            let (own, factor, part) = (of(1), of(2), of(3));
            let rows = Coefficients { own: &own, factor: &factor, part: &part };
            let of = |salt: usize| -> [f32; QUERIES] {
                std::array::from_fn(|i| ((i * 13 + salt) % 11) as f32 / 11.0 - 0.4)
            };
            let asking = Asking {
                own: of(1),
                factor: of(2).map(|v| v * 1e-5),
                shift: of(3),
                part: of(4),
                least: of(5),
            };
            let [mut got, mut want] = [Scores::default(), Scores::default()];
            kernel.score(&panel, &words, (rows, &asking), &mut got);
            Kernel::Portable.score(&panel, &words, (rows, &asking), &mut want);
            for j in 0..QUERIES {
                for i in 0..ROWS {
                    let (got_one, want_one) = (got.all[j][i], want.all[j][i]);
                    assert!((got_one - want_one).abs() < 1e-5, "{got_one} {want_one}");
                    let is_reached = got.reached[j] >> i & 1 == 1;
                    assert_eq!(is_reached, got_one >= asking.least[j]);
                }
            }
        }
    }
}
