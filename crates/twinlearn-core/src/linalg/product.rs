//! Matrix products behind shape-checked functions, cut into tiles by shape alone.

use super::kernels::{Tile, gemm_tile, gram_tile};
use super::matrix::{MatMut, MatRef};
use super::real::Real;
use crate::context::{Context, runs};

/// Below this many multiply-adds a product is not worth waking threads for.
const SERIAL_WORK: usize = 1 << 17;

/// `c = beta · c + alpha · a · b` on the context's threads.
///
/// `a` is m × k, `b` is k × n, `c` is m × n. With `beta` zero the old `c` is not read. Each
/// element sums its k products in an order that depends on the shapes only.
///
/// Panics when the shapes do not fit: a defect of the caller, never of the input.
pub fn matmul<T: Real>(
    ctx: &Context,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    mut c: MatMut<'_, T>,
) {
    check(&a, &b, &c);
    if c.rows == 0 || c.cols == 0 {
        return;
    }
    if c.rows * c.cols * a.cols <= SERIAL_WORK {
        return gemm_tile(alpha, a, b, beta, &c.tiles(), 0..a.rows, 0..b.cols);
    }
    let (rows, cols) = tile_edges(c.rows, c.cols);
    let row_runs: Vec<_> = runs(c.rows, rows).collect();
    let col_runs: Vec<_> = runs(c.cols, cols).collect();
    let tiles = c.tiles();
    ctx.for_each(row_runs.len() * col_runs.len(), |t| {
        let (i, j) = (t / col_runs.len(), t % col_runs.len());
        gemm_tile(alpha, a, b, beta, &tiles, row_runs[i].clone(), col_runs[j].clone());
    });
}

/// [`matmul`] on the calling thread, for callers that are themselves one of many tasks.
pub fn matmul_here<T: Real>(
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    mut c: MatMut<'_, T>,
) {
    check(&a, &b, &c);
    if c.rows > 0 && c.cols > 0 {
        gemm_tile(alpha, a, b, beta, &c.tiles(), 0..a.rows, 0..b.cols);
    }
}

/// `c = beta · c + a · aᵀ`, computing one triangle and mirroring it: half the work of [`matmul`].
///
/// `a` is m × k, `c` is m × m and, where `beta` is not zero, symmetric. Panics when the shapes do
/// not fit.
pub fn gram<T: Real>(ctx: &Context, a: MatRef<'_, T>, beta: T, mut c: MatMut<'_, T>) {
    check(&a, &a.t(), &c);
    // Each run of columns with everything below it: as tall as tiles can be.
    let cuts: Vec<_> =
        runs(c.cols, c.cols.div_ceil(8).next_multiple_of(32).clamp(32, 256)).collect();
    let (n, tiles) = (c.rows, c.tiles());
    ctx.for_each(cuts.len(), |t| gram_tile(a, beta, &tiles, cuts[t].start..n, cuts[t].clone()));
}

fn check<T>(a: &MatRef<'_, T>, b: &MatRef<'_, T>, c: &MatMut<'_, T>) {
    assert!(
        a.cols == b.rows && a.rows == c.rows && b.cols == c.cols,
        "product of {} × {} and {} × {} into {} × {}",
        a.rows,
        a.cols,
        b.rows,
        b.cols,
        c.rows,
        c.cols,
    );
}

/// The rows and columns of a tile: tiles enough to share, and as tall as that allows, because the
/// right-hand side is packed anew for each of them.
fn tile_edges(rows: usize, cols: usize) -> (usize, usize) {
    let edge =
        |n: usize, parts: usize, most| n.div_ceil(parts).next_multiple_of(32).clamp(64, most);
    let width = edge(cols, 16, 128);
    (edge(rows, 8usize.div_ceil(cols.div_ceil(width)), 4096), width)
}

impl<T> MatMut<'_, T> {
    fn tiles(&mut self) -> Tile<'_, T> {
        Tile::new(self.data, self.cols)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::Matrix;
    use proptest::prelude::*;

    fn naive(a: &Matrix<f64>, b: &Matrix<f64>) -> Matrix<f64> {
        let mut c = Matrix::zeros(a.rows(), b.cols());
        for i in 0..a.rows() {
            for j in 0..b.cols() {
                c.as_mut_slice()[i * b.cols() + j] =
                    (0..a.cols()).map(|k| a.row(i)[k] * b.row(k)[j]).sum();
            }
        }
        c
    }

    fn transposed(a: &Matrix<f64>) -> Matrix<f64> {
        let data = (0..a.cols()).flat_map(|j| (0..a.rows()).map(move |i| a.row(i)[j])).collect();
        Matrix::new(a.cols(), a.rows(), data).unwrap()
    }

    fn wave(rows: usize, cols: usize, phase: f64) -> Matrix<f64> {
        let data = (0..rows * cols).map(|i| (i as f64 * 0.7 + phase).sin()).collect();
        Matrix::new(rows, cols, data).unwrap()
    }

    fn assert_close(got: &[f64], want: &[f64]) {
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!((g - w).abs() < 1e-11, "element {i}: {g} against {w}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn products_equal_the_naive_ones(m in 1usize..140, n in 1usize..140, k in 1usize..70) {
            let ctx = Context::with_threads(2).unwrap();
            let (a, b) = (wave(m, k, 0.1), wave(k, n, 0.9));
            let want = naive(&a, &b);
            let mut c = wave(m, n, 0.3);
            let old = c.clone();
            matmul(&ctx, 1.0, a.view(), b.view(), 0.0, c.view_mut());
            assert_close(c.as_slice(), want.as_slice());

            // Transposed operands and beta.
            let (at, bt) = (transposed(&a), transposed(&b));
            let mut c = old.clone();
            matmul(&ctx, 2.0, at.view().t(), bt.view().t(), 3.0, c.view_mut());
            let want: Vec<f64> =
                want.as_slice().iter().zip(old.as_slice()).map(|(w, o)| 2.0 * w + 3.0 * o).collect();
            assert_close(c.as_slice(), &want);

            let mut g = Matrix::zeros(m, m);
            gram(&ctx, a.view(), 0.0, g.view_mut());
            let want = naive(&a, &at);
            assert_close(g.as_slice(), want.as_slice());
            gram(&ctx, a.view(), 2.0, g.view_mut());
            let want: Vec<f64> = want.as_slice().iter().map(|w| 3.0 * w).collect();
            assert_close(g.as_slice(), &want);
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let cast = |m: Matrix<f64>| {
            let (r, c) = (m.rows(), m.cols());
            Matrix::new(r, c, m.into_vec().into_iter().map(|x| x as f32).collect()).unwrap()
        };
        let (a, b) = (cast(wave(301, 517, 0.2)), cast(wave(517, 403, 0.5)));
        let run = |threads| {
            let ctx = Context::with_threads(threads).unwrap();
            let mut c = Matrix::zeros(301, 403);
            matmul(&ctx, 1.0, a.view(), b.view(), 0.0, c.view_mut());
            let mut g = Matrix::zeros(301, 301);
            gram(&ctx, a.view(), 0.0, g.view_mut());
            (c, g)
        };
        let one = run(1);
        for threads in [2, 3, 4] {
            assert_eq!(one, run(threads), "{threads} threads");
        }
    }
}
