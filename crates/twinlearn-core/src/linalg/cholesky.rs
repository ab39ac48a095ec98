//! Cholesky's factor of a symmetric matrix, and what is solved by it, by `faer`.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::solve_upper_triangular_in_place;
use faer::{MatMut, MatRef, Par, Spec};

use super::matrix::Matrix;
use crate::context::Context;
use crate::error::{Error, Result};

/// How often the ridge is made ten times as large, at most.
const TRIES: usize = 6;

/// The lower triangle L of a + rI = L Lᵀ, zeros above it, for the first ridge r of `ridge`, 10 · `ridge`
/// and so on with which rounding leaves the matrix positive definite.
///
/// `a` is n × n, positive semi-definite; only its lower triangle is read. Runs on one thread, so that
/// the result cannot depend on how many there are.
pub fn cholesky(ctx: &Context, a: Matrix<f64>, ridge: f64) -> Result<Matrix<f64>> {
    ctx.abandonable(move || {
        let mut found = factor(&a, ridge);
        for tries in 1..TRIES {
            if found.is_ok() {
                break;
            }
            found = factor(&a, ridge * 10_f64.powi(tries as i32));
        }
        found
    })?
}

fn factor(a: &Matrix<f64>, ridge: f64) -> Result<Matrix<f64>> {
    let n = a.rows();
    assert_eq!(n, a.cols(), "a square matrix");
    let mut a = a.clone();
    (0..n).for_each(|i| a.as_mut_slice()[i * n + i] += ridge);
    let mut buffer = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, Spec::default()));
    cholesky_in_place(
        MatMut::from_row_major_slice_mut(a.as_mut_slice(), n, n),
        Default::default(),
        Par::Seq,
        MemStack::new(&mut buffer),
        Spec::default(),
    )
    .map_err(|e| Error::invalid("X", "rows whose products are finite", format_args!("{e:?}")))?;
    for i in 0..n {
        a.as_mut_slice()[i * n + i + 1..(i + 1) * n].fill(0.0);
    }
    Ok(a)
}

/// The rows of `w` times L⁻¹, in their place.
pub fn times_inverse(w: &mut Matrix<f64>, lower: &Matrix<f64>) {
    let (d, n) = (w.rows(), w.cols());
    assert_eq!(n, lower.rows());
    // Row-major w is column-major wᵀ, and (w L⁻¹)ᵀ = L⁻ᵀ wᵀ.
    solve_upper_triangular_in_place(
        MatRef::from_row_major_slice(lower.as_slice(), n, n).transpose(),
        MatMut::from_column_major_slice_mut(w.as_mut_slice(), n, d),
        Par::Seq,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_give_the_matrix_and_solve() {
        let ctx = Context::with_threads(1).unwrap();
        // Seven rows in five dimensions: of rank 5.
        let (n, dim) = (7, 5);
        let x: Vec<f64> = (0..n * dim).map(|i| ((i * i) as f64 * 0.37).sin()).collect();
        let dot =
            |i: usize, j: usize| -> f64 { (0..dim).map(|k| x[i * dim + k] * x[j * dim + k]).sum() };
        let a = (0..n * n).map(|i| dot(i / n, i % n)).collect();
        let lower = cholesky(&ctx, Matrix::new(n, n, a).unwrap(), 1e-14).unwrap();
        for i in 0..n {
            assert!(lower.row(i)[i + 1..].iter().all(|v| *v == 0.0));
            for j in 0..n {
                let got: f64 = lower.row(i).iter().zip(lower.row(j)).map(|(a, b)| a * b).sum();
                assert!((got - dot(i, j)).abs() < 1e-12, "{i}, {j}: {got} for {}", dot(i, j));
            }
        }
        let want: Vec<f64> = (0..2 * n).map(|i| (i as f64).cos()).collect();
        let mut w = Matrix::new(2, n, want.clone()).unwrap();
        times_inverse(&mut w, &lower);
        for (row, want) in [0, 1].map(|r| w.row(r).to_vec()).iter().zip(want.chunks(n)) {
            for (j, want) in want.iter().enumerate() {
                let got: f64 = (0..n).map(|i| row[i] * lower.row(i)[j]).sum();
                assert!((got - want).abs() < 1e-6, "{got} for {want}");
            }
        }
    }
}
