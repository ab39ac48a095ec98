//! Eigenvectors of a symmetric matrix, by `faer`.

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{Mat, MatRef, Par, Spec};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::linalg::Matrix;

/// Eigenvalues in falling order and, as rows, their unit eigenvectors.
///
/// `a` is n × n; only its lower triangle is read. Each vector's sign is fixed by making its
/// largest component (the first of equals) positive. Runs on one thread, so that the result cannot
/// depend on how many there are.
pub fn symmetric_eigen(ctx: &Context, a: Matrix<f64>) -> Result<(Vec<f64>, Matrix<f64>)> {
    ctx.abandonable(move || decompose(&a))?
}

/// Bytes that [`symmetric_eigen`] of an n × n matrix takes at most, the matrix among them.
pub(super) fn eigen_bytes(n: usize) -> usize {
    let (scratch, square) = (scratch(n).size_bytes(), 8 * n * n);
    // The matrix, its vectors, and these as rows.
    3 * square + scratch
}

fn scratch(n: usize) -> StackReq {
    self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, Par::Seq, Spec::default())
}

fn decompose(a: &Matrix<f64>) -> Result<(Vec<f64>, Matrix<f64>)> {
    let n = a.rows();
    assert_eq!(n, a.cols(), "a square matrix");
    let a = MatRef::from_row_major_slice(a.as_slice(), n, n);
    let mut values = vec![0.0; n];
    let mut vectors = Mat::<f64>::zeros(n, n);
    let params = Spec::default();
    let mut buffer = MemBuffer::new(scratch(n));
    self_adjoint_evd(
        a,
        faer::diag::DiagMut::from_slice_mut(&mut values),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut buffer),
        params,
    )
    .map_err(|e| {
        Error::invalid("covariance", "a matrix whose eigenvalues converge", format_args!("{e:?}"))
    })?;
    values.reverse();
    let mut rows = Vec::with_capacity(n * n);
    for j in (0..n).rev() {
        let column = vectors.col(j);
        rows.extend((0..n).map(|i| column[i]));
        fix_sign(&mut rows[(n - 1 - j) * n..]);
    }
    Ok((values, Matrix::new(n, n, rows)?))
}

/// Makes the largest component of a vector, the first of equals, positive.
pub(super) fn fix_sign(axis: &mut [f64]) {
    let larger = |best: usize, i: usize| if axis[i].abs() > axis[best].abs() { i } else { best };
    if axis[(0..axis.len()).fold(0, larger)] < 0.0 {
        axis.iter_mut().for_each(|v| *v = -*v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconstructs_and_is_sorted() {
        let n = 17;
        let mut a = Matrix::zeros(n, n);
        for i in 0..n {
            for j in 0..=i {
                let v = ((i * 31 + j * 7) as f64).sin();
                a.as_mut_slice()[i * n + j] = v;
                a.as_mut_slice()[j * n + i] = v;
            }
        }
        let (values, vectors) = decompose(&a).unwrap();
        assert!(values.is_sorted_by(|x, y| x >= y));
        for i in 0..n {
            for j in 0..n {
                let rebuilt: f64 =
                    (0..n).map(|k| values[k] * vectors.row(k)[i] * vectors.row(k)[j]).sum();
                assert!((rebuilt - a.row(i)[j]).abs() < 1e-12);
                let dot: f64 = (0..n).map(|k| vectors.row(i)[k] * vectors.row(j)[k]).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
    }
}
