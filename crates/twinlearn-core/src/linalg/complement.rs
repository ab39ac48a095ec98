//! Leading eigenvectors made a basis.
//!
//! With V (p × n) of orthonormal rows, V₁ and V₂ its first p columns and the others, and S a diagonal of
//! signs, let X = Vᵀ − [S; 0] and K = −S (V₁ᵀ − S)⁻ᵀ. Then H = I − X K Xᵀ is orthogonal and its first p
//! columns are those of VᵀS: the others are a basis of what V leaves. The signs are chosen while V₁ᵀ − S
//! is factored, so that every pivot is at least 1 in size (Ballard et al., "Reconstructing Householder
//! vectors from tall-skinny QR", 2014). All of it is products of n² p.

use super::matrix::{MatMut, Matrix};
use super::product::matmul;
use super::sums::dot_here;
use crate::context::Context;

/// The orthonormal rows of `axes` (p × n) and n − p more, and q·A q of each q that was added, A being
/// n × n and symmetric.
pub(super) fn completed(
    ctx: &Context,
    a: &Matrix<f64>,
    axes: Matrix<f64>,
) -> (Vec<f64>, Matrix<f64>) {
    let (p, n) = (axes.rows(), axes.cols());
    let rest = n - p;
    let (signs, mut kernel) = signed_inverse(&axes);
    // Kᵀ = −(V₁ᵀ − S)⁻¹ S.
    for row in kernel.as_mut_slice().chunks_exact_mut(p) {
        row.iter_mut().zip(&signs).for_each(|(v, s)| *v *= -s);
    }
    // Column i of H is e − X K Xᵢᵀ: row i of what is added is e − G Xᵀ with G = V₂ᵀ Kᵀ.
    let mut from = axes.clone();
    (0..p).for_each(|i| from.as_mut_slice()[i * n + i] -= signs[i]);
    let mut v2 = Matrix::<f64>::zeros(rest, p);
    for (i, row) in v2.as_mut_slice().chunks_exact_mut(p).enumerate() {
        row.iter_mut().enumerate().for_each(|(j, v)| *v = axes.row(j)[p + i]);
    }
    let mut gains = Matrix::<f64>::zeros(rest, p);
    matmul(ctx, 1.0, v2.view(), kernel.view(), 0.0, gains.view_mut());
    let mut all = Matrix::<f64>::zeros(n, n);
    all.rows_slice_mut(0..p).copy_from_slice(axes.as_slice());
    let added = all.rows_slice_mut(p..n);
    (0..rest).for_each(|i| added[i * n + p + i] = 1.0);
    matmul(ctx, -1.0, gains.view(), from.view(), 1.0, MatMut::new(added, rest, n));

    // With q = e − X g, q·A q = e·A e − 2 g·XᵀA e + g·(XᵀAX) g.
    let mut through = Matrix::<f64>::zeros(p, n);
    matmul(ctx, 1.0, from.view(), a.view(), 0.0, through.view_mut());
    let mut inner = Matrix::<f64>::zeros(p, p);
    matmul(ctx, 1.0, through.view(), from.view().t(), 0.0, inner.view_mut());
    let mut turned = Matrix::<f64>::zeros(rest, p);
    matmul(ctx, 1.0, gains.view(), inner.view(), 0.0, turned.view_mut());
    let quotient = |i: usize| {
        let (g, at) = (gains.row(i), p + i);
        let cross: f64 = g.iter().enumerate().map(|(j, g)| g * through.row(j)[at]).sum();
        a.row(at)[at] - 2.0 * cross + dot_here(turned.row(i), g)
    };
    ((0..rest).map(quotient).collect(), all)
}

/// S and (V₁ᵀ − S)⁻¹.
fn signed_inverse(axes: &Matrix<f64>) -> (Vec<f64>, Matrix<f64>) {
    let p = axes.rows();
    let mut lu: Vec<Vec<f64>> = (0..p).map(|i| (0..p).map(|j| axes.row(j)[i]).collect()).collect();
    let mut signs = Vec::with_capacity(p);
    for j in 0..p {
        let (done, below) = lu.split_at_mut(j + 1);
        let pivot = &mut done[j];
        let sign = if pivot[j] > 0.0 { -1.0 } else { 1.0 };
        pivot[j] -= sign;
        signs.push(sign);
        for row in below {
            row[j] /= pivot[j];
            let factor = row[j];
            subtract(&mut row[j + 1..], factor, &pivot[j + 1..]);
        }
    }
    let mut inverse: Vec<Vec<f64>> =
        (0..p).map(|i| (0..p).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for (i, factors) in lu.iter().enumerate() {
        let (done, rest) = inverse.split_at_mut(i);
        done.iter().zip(factors).for_each(|(other, &factor)| subtract(&mut rest[0], factor, other));
    }
    for i in (0..p).rev() {
        let (rest, done) = inverse.split_at_mut(i + 1);
        let row = &mut rest[i];
        done.iter().zip(&lu[i][i + 1..]).for_each(|(other, &factor)| subtract(row, factor, other));
        row.iter_mut().for_each(|v| *v /= lu[i][i]);
    }
    let mut flat = Matrix::zeros(p, p);
    for (row, from) in flat.as_mut_slice().chunks_exact_mut(p).zip(&inverse) {
        row.copy_from_slice(from);
    }
    (signs, flat)
}

fn subtract(row: &mut [f64], factor: f64, other: &[f64]) {
    row.iter_mut().zip(other).for_each(|(v, o)| *v -= factor * o);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::symmetric_eigen;

    #[test]
    fn a_basis_with_the_quotients_of_what_is_added() {
        let ctx = Context::with_threads(2).unwrap();
        let n = 45;
        let mut a = Matrix::<f64>::zeros(n, n);
        for i in 0..n {
            for j in 0..=i {
                // Columns 7 and 40 are dead.
                let v = if [i, j].iter().any(|at| [7, 40].contains(at)) { 0.0 } else { 1.0 };
                let v = v * (((i * 31 + j * 7) as f64).sin() + f64::from(u8::from(i == j)) * 30.0);
                a.as_mut_slice()[i * n + j] = v;
                a.as_mut_slice()[j * n + i] = v;
            }
        }
        let (_, axes) = symmetric_eigen(&ctx, a.clone()).unwrap();
        // Also axes that are a part of the coordinates themselves, of either sign.
        let units = |sign: f64| {
            let mut units = Matrix::<f64>::zeros(3, n);
            (0..3).for_each(|i| units.as_mut_slice()[i * n + i] = sign);
            units
        };
        let first = |p: usize| Matrix::new(p, n, axes.as_slice()[..p * n].to_vec()).unwrap();
        for axes in [first(1), first(20), first(44), units(1.0), units(-1.0)] {
            let p = axes.rows();
            let (quotients, basis) = completed(&ctx, &a, axes.clone());
            assert_eq!(&basis.as_slice()[..p * n], axes.as_slice());
            assert_eq!(quotients.len(), n - p);
            for i in 0..n {
                for j in 0..=i {
                    let dot = dot_here(basis.row(i), basis.row(j));
                    let want = f64::from(u8::from(i == j));
                    assert!((dot - want).abs() < 1e-12, "{p} axes, {i} and {j}: {dot}");
                }
            }
            for (q, quotient) in (p..n).map(|i| basis.row(i)).zip(quotients) {
                let want: f64 = (0..n).map(|i| q[i] * dot_here(a.row(i), q)).sum();
                assert!((quotient - want).abs() < 1e-11, "{p} axes: {quotient} for {want}");
            }
        }
    }
}
