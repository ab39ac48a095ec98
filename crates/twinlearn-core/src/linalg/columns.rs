//! Sums down the columns of row-major data, in a fixed order.

use std::ops::Range;

use super::kernels::vectorised;
use crate::context::{Context, runs};

/// Columns a task sums at once: eight cache lines of `f32`, and few enough accumulators to stay
/// in the first cache.
const BLOCK: usize = 128;

/// `K` sums for each of `cols` columns over `rows`, accumulated in `f64` row after row.
///
/// `add(row, columns, sums)` adds one row's terms: `sums[k][j]` belongs to column
/// `columns.start + j`. The order of additions depends on nothing but `rows`.
pub fn column_sums<const K: usize>(
    ctx: &Context,
    rows: Range<usize>,
    cols: usize,
    add: impl Fn(usize, Range<usize>, &mut [[f64; BLOCK]; K]) + Send + Sync,
) -> [Vec<f64>; K] {
    let mut out = [(); K].map(|()| vec![[0.0; BLOCK]; cols.div_ceil(BLOCK)]);
    let blocks: Vec<_> = runs(cols, BLOCK).collect();
    let mut sums = vec![[[0.0; BLOCK]; K]; blocks.len()];
    ctx.for_each_chunk(&mut sums, 1, |i, sums| {
        vectorised(
            #[inline(always)]
            || {
                for row in rows.clone() {
                    add(row, blocks[i].clone(), &mut sums[0]);
                }
            },
        );
    });
    for (i, block) in sums.iter().enumerate() {
        for (k, column) in block.iter().enumerate() {
            out[k][i] = *column;
        }
    }
    out.map(|blocks| {
        let mut flat = blocks.into_flattened();
        flat.truncate(cols);
        flat
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_values_and_squares() {
        let ctx = Context::with_threads(2).unwrap();
        let cols = 300;
        let value = |i: usize, j: usize| (i * cols + j) as f64;
        let [sum, squares] = column_sums(&ctx, 2..5, cols, |i, block, [s, q]| {
            for (k, j) in block.enumerate() {
                s[k] += value(i, j);
                q[k] += value(i, j) * value(i, j);
            }
        });
        assert_eq!((sum.len(), squares.len()), (cols, cols));
        for j in 0..cols {
            assert_eq!(sum[j], (2..5).map(|i| value(i, j)).sum::<f64>());
            assert_eq!(squares[j], (2..5).map(|i| value(i, j) * value(i, j)).sum::<f64>());
        }
    }
}
