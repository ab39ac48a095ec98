//! Which ways to keep vectors are worth measuring, for what is asked.

use twinlearn_codes::{Bits, CodeSpec};
use twinlearn_core::error::Result;

use super::super::coded::MOST_OPQ;
use super::super::formats::Side;
use super::cells::{Asked, Cell, Cells, Method};

/// Bits of scalar codes, from the most on.
const BITS: [usize; 4] = [3, 2, 1, 0];
/// A dimension is sought to a tenth of it.
const TOLERANCE: usize = 10;
/// Numbers of a row that a byte of a product code stands for.
const PER_BYTE: [usize; 6] = [2, 3, 4, 6, 8, 12];
/// Bytes of product codes are sought by so many halvings, below those of the best scalar code.
const HALVINGS: usize = 5;

fn scalar(place: usize) -> Bits {
    Bits::ALL[place]
}

/// The vectors as they are, in the ways that databases have by themselves.
pub(super) fn full(cells: &mut Cells<'_, '_>, dim: usize) -> Result<()> {
    for asked in [Asked::Int8, Asked::Signs(Side::Bits), Asked::Signs(Side::Floats)] {
        cells.measure(Method::Full, dim, asked)?;
    }
    Ok(())
}

/// Measures the ways to keep vectors in so many bytes; up to `most` dimensions.
pub(super) fn in_bytes(cells: &mut Cells<'_, '_>, bytes: usize, most: usize) -> Result<()> {
    let mut sizes = vec![bytes / 4];
    for method in [Method::Tldr, Method::Pca] {
        for place in BITS {
            let bits = scalar(place);
            let d = (8 * bytes / bits.get()).min(most);
            let d = match cells.scalar_bytes(method, d, bits)? {
                taken if taken <= bytes => d,
                // A length beside the codes of each row.
                taken => (8 * bytes.saturating_sub(taken - (d * bits.get()).div_ceil(8))
                    / bits.get())
                .min(most),
            };
            sizes.push(d);
        }
    }
    sizes.retain(|d| (1..=most).contains(d));
    sizes.sort_unstable();
    sizes.dedup();
    for method in [Method::Tldr, Method::Pca] {
        for &d in &sizes {
            cells.measure_all(method, d)?;
        }
    }
    products(cells, bytes, most.min(MOST_OPQ))
}

/// Product codes of so many bytes, of up to `widest` dimensions.
fn products(cells: &mut Cells<'_, '_>, bytes: usize, widest: usize) -> Result<()> {
    // A byte is of one number at least.
    let spent = bytes.min(widest);
    let asked = Asked::Code(CodeSpec::Product(spent));
    // Groups of one size, which FAISS takes too.
    let mut sizes: Vec<usize> = PER_BYTE.iter().map(|each| each * spent).collect();
    sizes.push(widest / spent * spent);
    sizes.retain(|&d| d <= widest);
    sizes.sort_unstable();
    sizes.dedup();
    // PCA first, which needs no fit; TLDR where it keeps most, and in the next fewer dimensions.
    let mut best = (0, f64::MIN);
    for (place, &d) in sizes.iter().enumerate() {
        let cell = cells.measure(Method::Pca, d, asked)?;
        let kept = cells.all[cell].chosen_by();
        if kept > best.1 {
            best = (place, kept);
        }
    }
    for &d in &sizes[best.0.saturating_sub(1)..=best.0] {
        cells.measure(Method::Tldr, d, asked)?;
    }
    Ok(())
}

/// Seeks the fewest bytes in which a method keeps a share, by codes of fewer and fewer bits; `floats` is
/// the dimension at which floats do.
pub(super) fn keeping(
    cells: &mut Cells<'_, '_>,
    method: Method,
    (keep, floats): (f64, usize),
    most: usize,
) -> Result<()> {
    let mut best: Option<usize> = None;
    let mut low = floats;
    cells.measure(method, floats, Asked::Floats)?;
    for place in BITS {
        let asked = Asked::Code(CodeSpec::Scalar(scalar(place)));
        let worth = |cell: &Cell, best: Option<&Cell>| {
            best.is_none_or(|best| cell.row_bytes < best.row_bytes)
        };
        let (mut d, mut below) = (low, None);
        let reached = loop {
            let cell = cells.measure(method, d, asked)?;
            let best = best.map(|best| &cells.all[best]);
            if cells.all[cell].chosen_by() >= keep {
                break Some(cell);
            }
            if d == most || !worth(&cells.all[cell], best) {
                break None;
            }
            (below, d) = (Some(d), (2 * d).min(most));
        };
        let Some(mut reached) = reached else { break };
        let mut high = cells.all[reached].n_components;
        if let Some(mut under) = below {
            while high - under > (high / TOLERANCE).max(1) {
                let middle = under.midpoint(high);
                let cell = cells.measure(method, middle, asked)?;
                match cells.all[cell].chosen_by() >= keep {
                    true => (reached, high) = (cell, middle),
                    false => under = middle,
                }
            }
        }
        if worth(&cells.all[reached], best.map(|best| &cells.all[best])) {
            best = Some(reached);
        }
        low = high;
    }
    let (d, bytes) = match best.map(|best| &cells.all[best]) {
        Some(best) => (best.n_components, best.row_bytes),
        None => (floats, 4 * floats),
    };
    // Of PCA, which needs no fit for more, of two thirds of all: more keep no more (measured), and take longer.
    let d = if method == Method::Pca { d.max(2 * most / 3) } else { d }.min(MOST_OPQ);
    let mut high = bytes.min(d + 1);
    let mut low = 0_usize;
    for _ in 0..HALVINGS {
        let middle = low.midpoint(high);
        if middle <= low || middle >= high {
            break;
        }
        // Groups of one size, which FAISS takes too.
        let asked = Asked::Code(CodeSpec::Product(middle));
        let cell = cells.measure(method, d / middle * middle, asked)?;
        match cells.all[cell].chosen_by() >= keep {
            true => high = middle,
            false => low = middle,
        }
    }
    Ok(())
}
