//! The nearest orthogonal matrix, by `faer`'s singular value decomposition.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{MatMut, MatRef, Par, Spec};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::linalg::{self, Matrix, matmul_here};

/// The orthogonal matrix R that minimises ‖A − R‖, and so maximises tr(AᵀR): U Vᵀ of A = U S Vᵀ.
///
/// `a` is n × n. Runs on one thread, so that the result cannot depend on how many there are.
///
/// # Errors
/// When singular values do not converge, or the work is cancelled.
pub fn nearest_orthogonal(ctx: &Context, a: Matrix<f64>) -> Result<Matrix<f64>> {
    ctx.abandonable(move || polar(&a))?
}

fn polar(a: &Matrix<f64>) -> Result<Matrix<f64>> {
    let n = a.rows();
    assert_eq!(n, a.cols(), "a square matrix");
    let a = MatRef::from_row_major_slice(a.as_slice(), n, n);
    // Column after column.
    let [mut u, mut v] = [(); 2].map(|()| vec![0.0; n * n]);
    let mut values = vec![0.0; n];
    let full = ComputeSvdVectors::Full;
    let params = Spec::default();
    let mut buffer = MemBuffer::new(svd_scratch::<f64>(n, n, full, full, Par::Seq, params));
    svd(
        a,
        faer::diag::DiagMut::from_slice_mut(&mut values),
        Some(MatMut::from_column_major_slice_mut(&mut u, n, n)),
        Some(MatMut::from_column_major_slice_mut(&mut v, n, n)),
        Par::Seq,
        MemStack::new(&mut buffer),
        params,
    )
    .map_err(|e| {
        Error::invalid("rotation", "singular values that converge", format_args!("{e:?}"))
    })?;
    let [u, v] = [&u, &v].map(|columns| linalg::MatRef::new(columns, n, n));
    let mut product = Matrix::zeros(n, n);
    matmul_here(1.0, u.t(), v, 0.0, product.view_mut());
    Ok(product)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize, phase: f64) -> Matrix<f64> {
        let value = |i: usize| ((i * i * 31 % 977) as f64 * 0.37 + phase).sin();
        Matrix::new(n, n, (0..n * n).map(value).collect()).unwrap()
    }

    fn times(a: &Matrix<f64>, b: &Matrix<f64>) -> Matrix<f64> {
        let n = a.rows();
        let dot = |i: usize, j: usize| (0..n).map(|k| a.row(i)[k] * b.row(k)[j]).sum();
        Matrix::new(n, n, (0..n * n).map(|at| dot(at / n, at % n)).collect()).unwrap()
    }

    #[test]
    fn a_rotation_is_found_again_and_everything_is_orthogonal() {
        let ctx = Context::with_threads(1).unwrap();
        let n = 13;
        let rotation = nearest_orthogonal(&ctx, wave(n, 0.2)).unwrap();
        // A rotation times a positive definite matrix.
        let mut positive = times(&wave(n, 0.9), &{
            let a = wave(n, 0.9);
            let mut t = a.clone();
            for i in 0..n {
                for j in 0..n {
                    t.as_mut_slice()[i * n + j] = a.row(j)[i];
                }
            }
            t
        });
        for i in 0..n {
            positive.as_mut_slice()[i * n + i] += 0.5;
        }
        let again = nearest_orthogonal(&ctx, times(&rotation, &positive)).unwrap();
        for (a, b) in again.as_slice().iter().zip(rotation.as_slice()) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
        // Also where many columns are 0.
        let mut thin = wave(n, 0.4);
        thin.as_mut_slice().chunks_exact_mut(n).for_each(|row| row[3..].fill(0.0));
        let found = nearest_orthogonal(&ctx, thin).unwrap();
        for i in 0..n {
            for j in 0..n {
                let dot: f64 = found.row(i).iter().zip(found.row(j)).map(|(a, b)| a * b).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
    }
}
