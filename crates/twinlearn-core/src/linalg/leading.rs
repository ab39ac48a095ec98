//! The leading eigenvectors of a symmetric matrix, where a few of many are wanted.
//!
//! Subspace iteration with Rayleigh–Ritz steps (Halko, Martinsson and Tropp, arXiv 0909.4061, section
//! 4.5): Q (m × n) has orthonormal rows, a little more than the p wanted; it is turned to the
//! eigenvectors of QAQᵀ, multiplied by a polynomial of A that is small where eigenvalues are, and made
//! orthonormal again. The polynomial is Chebyshev's of A/c, c the least eigenvalue that Q knows (Zhou,
//! Saad, Tiago and Chelikowsky, 2006): between −c and c it is at most 1 in size, and beyond it grows
//! faster than any other. A product is mn² multiplications on all threads, where the eigenproblem of
//! the whole takes about 9n³ on one.

use rand::Rng;

use super::complement::completed;
use super::eigen::{eigen_bytes, fix_sign, symmetric_eigen};
use super::matrix::{MatMut, MatRef, Matrix};
use super::product::matmul;
use super::sums::dot_here;
use crate::context::{Context, runs};
use crate::error::Result;
use crate::random::{Purpose, generator};

/// Below this size the eigenproblem of the whole is solved.
const SMALL: usize = 1000;
/// Rows that are made orthonormal at once.
const BLOCK: usize = 32;
/// The least that c is taken for, by the largest eigenvalue.
const FLOOR: f64 = 1e-4;
/// Half of the range of random numbers.
const HALF: f64 = (1_u64 << 31) as f64;

/// How long iterations go on.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    rounds: usize,
    /// Degree of the polynomial: higher ones would drown small eigenvalues beside large ones.
    degree: usize,
    /// ‖Av − λv‖ over the largest eigenvalue, for every v wanted.
    residual: f64,
}

impl Effort {
    /// For axes that are to be principal ones.
    pub const EXACT: Self = Self { rounds: 12, degree: 4, residual: 1e-7 };
    /// For axes that are to hold much of the rows, whichever they are.
    pub const ROUGH: Self = Self { rounds: 3, degree: 1, residual: 0.0 };
}

/// How many rows are turned for `p` leading eigenvectors of n; none where all are found at once.
fn n_rows(n: usize, p: usize) -> Option<usize> {
    let m = p + (p / 4).max(16);
    (n >= SMALL && 3 * m <= n).then_some(m)
}

/// Whether [`leading_eigen`] and [`eigen_basis`] find no more than `p` eigenvectors of n.
pub fn is_partial(n: usize, p: usize) -> bool {
    n_rows(n, p).is_some()
}

/// About the multiplications in `f64` of [`leading_eigen`] in so many rounds; none where the
/// eigenproblem of the whole is solved.
pub fn leading_work(n: usize, p: usize, effort: Effort) -> Option<f64> {
    let work = |m: usize| (effort.rounds * m * n) as f64 * (effort.degree * n + 4 * m) as f64;
    n_rows(n, p).map(work)
}

/// Bytes of working memory of [`leading_eigen`], the matrix among them.
pub fn leading_bytes(n: usize, p: usize) -> usize {
    match n_rows(n, p) {
        Some(m) => 8 * (n * n + 5 * m * n + 4 * m * m),
        None => eigen_bytes(n),
    }
}

/// The `p` leading eigenvalues, falling, and as rows their unit eigenvectors, each with the sign that
/// [`symmetric_eigen`] gives.
///
/// `a` is n × n, symmetric, and its eigenvalues far below 0, if any, are few. `start` has rows that are
/// near the wanted ones, if any are known.
pub fn leading_eigen(
    ctx: &Context,
    a: Matrix<f64>,
    p: usize,
    start: Option<&Matrix<f64>>,
    effort: Effort,
) -> Result<(Vec<f64>, Matrix<f64>)> {
    let n = a.rows();
    let Some(m) = n_rows(n, p) else {
        let (mut values, axes) = symmetric_eigen(ctx, a)?;
        values.truncate(p);
        let mut axes = axes.into_vec();
        axes.truncate(values.len() * n);
        return Ok((values, Matrix::new(axes.len() / n, n, axes)?));
    };
    let mut q = Matrix::<f64>::zeros(m, n);
    if let Some(start) = start {
        let known = start.as_slice().len().min(m * n);
        q.as_mut_slice()[..known].copy_from_slice(&start.as_slice()[..known]);
    }
    let mut product = Matrix::<f64>::zeros(m, n);
    let mut rounds = 0;
    loop {
        rounds += 1;
        ctx.check_cancelled()?;
        orthonormalise(ctx, &mut q);
        matmul(ctx, 1.0, q.view(), a.view(), 0.0, product.view_mut());
        let mut inner = Matrix::<f64>::zeros(m, m);
        matmul(ctx, 1.0, product.view(), q.view().t(), 0.0, inner.view_mut());
        let (values, turn) = symmetric_eigen(ctx, inner)?;
        let mut turned = Matrix::<f64>::zeros(m, n);
        matmul(ctx, 1.0, turn.view(), product.view(), 0.0, turned.view_mut());
        // The product's place is taken by the turned rows of q.
        matmul(ctx, 1.0, turn.view(), q.view(), 0.0, product.view_mut());
        let residual = |i: usize| {
            let terms = turned.row(i).iter().zip(product.row(i));
            terms.map(|(av, v)| (av - values[i] * v).powi(2)).sum::<f64>().sqrt()
        };
        let worst = (0..p).map(residual).fold(0.0, f64::max);
        if rounds == effort.rounds || worst <= effort.residual * values[0].abs() {
            let mut axes = product.into_vec();
            axes.truncate(p * n);
            axes.chunks_exact_mut(n).for_each(fix_sign);
            return Ok((values[..p].to_vec(), Matrix::new(p, n, axes)?));
        }
        // T₁ and T₀ of A/c, of the turned rows.
        let cut = values[m - 1].max(FLOOR * values[0]);
        let (mut last, mut before) = (turned, product);
        last.as_mut_slice().iter_mut().for_each(|v| *v /= cut);
        for _ in 1..effort.degree {
            // T of the next degree is 2 (A/c) T − T of the one before.
            matmul(ctx, 2.0 / cut, last.view(), a.view(), -1.0, before.view_mut());
            (last, before) = (before, last);
        }
        (q, product) = (last, before);
    }
}

/// An orthonormal basis, as rows, that begins with the `p` leading eigenvectors, and the variance along
/// each of its axes, q·A q: the eigenvalue of those that are eigenvectors.
///
/// All axes are eigenvectors where the eigenproblem of the whole is solved.
pub fn eigen_basis(
    ctx: &Context,
    a: Matrix<f64>,
    p: usize,
    effort: Effort,
) -> Result<(Vec<f64>, Matrix<f64>)> {
    if !is_partial(a.rows(), p) {
        return symmetric_eigen(ctx, a);
    }
    let (mut values, axes) = leading_eigen(ctx, a.clone(), p, None, effort)?;
    let (others, basis) = completed(ctx, &a, axes);
    values.extend(others);
    Ok((values, basis))
}

/// Makes the rows of q orthonormal, in their order (block Gram–Schmidt, twice). Rows that lie among
/// those before them are replaced by seeded random ones.
fn orthonormalise(ctx: &Context, q: &mut Matrix<f64>) {
    let (m, n) = (q.rows(), q.cols());
    let mut rng = generator(0, Purpose::Subspace, 0);
    for block in runs(m, BLOCK) {
        let (before, rest) = q.as_mut_slice().split_at_mut(block.start * n);
        let before = MatRef::new(before, block.start, n);
        let rows = &mut rest[..block.len() * n];
        for _ in 0..2 {
            project_out(ctx, before, rows, n);
            for i in 0..block.len() {
                let (done, row) = rows.split_at_mut(i * n);
                let row = &mut row[..n];
                while !reduce(done, row) {
                    // Twice, for a random row has but a small part outside of what there is.
                    row.iter_mut().for_each(|v| *v = f64::from(rng.next_u32()) - HALF);
                    project_out(ctx, before, row, n);
                    project_out(ctx, before, row, n);
                }
            }
        }
    }
}

/// Takes off rows what lies in the orthonormal rows of `before`.
fn project_out(ctx: &Context, before: MatRef<'_, f64>, rows: &mut [f64], n: usize) {
    let (k, m) = (before.rows, rows.len() / n);
    if k == 0 {
        return;
    }
    let mut along = vec![0.0; m * k];
    matmul(ctx, 1.0, MatRef::new(rows, m, n), before.t(), 0.0, MatMut::new(&mut along, m, k));
    let along = MatRef::new(&along, m, k);
    matmul(ctx, -1.0, along, before, 1.0, MatMut::new(rows, m, n));
}

/// Takes off `row` what lies in the orthonormal rows `done` and makes it of length 1; false where
/// nothing but rounding is left.
fn reduce(done: &[f64], row: &mut [f64]) -> bool {
    let length = |row: &[f64]| dot_here(row, row).sqrt();
    let before = length(row);
    for other in done.chunks_exact(row.len()) {
        let along = dot_here(row, other);
        row.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
    }
    let left = length(row);
    if left <= 1e-10 * before || left == 0.0 {
        return false;
    }
    row.iter_mut().for_each(|v| *v /= left);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The covariance of rows whose columns fall off as 0.99^j, turned by a reflection; `rank` columns live.
    fn covariance(n: usize, rank: usize) -> Matrix<f64> {
        let mut a = Matrix::<f64>::zeros(n, n);
        let v: Vec<f64> = (0..n).map(|i| ((i * i + 1) as f64 * 0.37).sin()).collect();
        let square: f64 = v.iter().map(|v| v * v).sum();
        let value = |j: usize| if j < rank { 0.99_f64.powi(j as i32) } else { 0.0 };
        // H diag H with H = I − 2vvᵀ/‖v‖².
        let dvv: f64 = (0..n).map(|j| v[j] * v[j] * value(j)).sum();
        for i in 0..n {
            for j in 0..n {
                let cross = -2.0 * v[i] * v[j] * (value(i) + value(j)) / square;
                let own = if i == j { value(i) } else { 0.0 };
                a.as_mut_slice()[i * n + j] =
                    own + cross + 4.0 * v[i] * v[j] * dvv / square.powi(2);
            }
        }
        a
    }

    #[test]
    fn leading_pairs_are_those_of_the_whole() {
        let n = 1100;
        for rank in [n, 20] {
            let a = covariance(n, rank);
            let runs = [1, 3].map(|threads| {
                let ctx = Context::with_threads(threads).unwrap();
                leading_eigen(&ctx, a.clone(), 24, None, Effort::EXACT).unwrap()
            });
            assert_eq!(runs[0], runs[1], "threads change nothing");
            let (values, axes) = &runs[0];
            for (i, value) in values.iter().enumerate() {
                let want = if i < rank { 0.99_f64.powi(i as i32) } else { 0.0 };
                assert!((value - want).abs() < 1e-6, "rank {rank}, {i}: {value}");
                for j in 0..=i {
                    let dot = dot_here(axes.row(i), axes.row(j));
                    let want = f64::from(u8::from(i == j));
                    assert!((dot - want).abs() < 1e-12, "rank {rank}, axes {i} and {j}: {dot}");
                }
            }
        }
    }

    #[test]
    fn small_problems_are_solved_whole() {
        let ctx = Context::with_threads(1).unwrap();
        let a = covariance(40, 40);
        let (values, axes) = leading_eigen(&ctx, a.clone(), 3, None, Effort::ROUGH).unwrap();
        let (all, all_axes) = symmetric_eigen(&ctx, a).unwrap();
        assert_eq!(values, all[..3]);
        assert_eq!(axes.as_slice(), &all_axes.as_slice()[..3 * 40]);
    }
}
