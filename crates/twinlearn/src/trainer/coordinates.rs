//! The coordinates in which the neighbourhood-KL loss trains.
//!
//! With S the second moment of the rows x (under l2 and with a centred target about their mean, which is
//! taken off first), Q orthonormal axes, of which the leading ones are eigenvectors of S, and Λ the mean
//! squares of x along them, y = s Λ^(−1/4) Qᵀ x, where s makes the mean square length of y 1. Adam moves every weight by about the learning rate: along axes of rows that vary by
//! orders of magnitude that is too far for some and too short for others. Similarities of x can
//! still be computed: x · x' = yᵀ (Λ^(1/2)/s²) y'.
//!
//! Axes along which rows vary by no more than rounding are left out: nothing can be learned there, and
//! what is learned from noise would be amplified in rows that do vary.
//!
//! Under cosine a linear encoder without a bias sees only directions, so its rows are brought to
//! length 1 first, and rows of any length teach alike.
//!
//! Rows that there is room for are moved once. Of others a step would move every row that it reads, at
//! D² multiplications each; instead its weights V, which are trained for y = A (x − mean), are turned
//! to W = V A, which see x − mean, and the gradient G by W to G Aᵀ, that by V. That is the same training.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::{MatMut, MatRef, Matrix, matmul};
use twinlearn_vectors::Vectors;

use crate::nn::Network;
use crate::units::Units;

/// Eigenvalues below this share of the largest are taken for it.
const FLOOR: f64 = 1e-10;
/// Rows read at once.
const ROWS: usize = 64;

/// y of x, and back.
#[derive(Clone, Debug)]
pub(super) struct Coordinates {
    /// s Λ^(−1/4) Qᵀ, as it is applied to rows.
    forward: Network<f32>,
    /// The same, and its inverse transposed: rows are s Λ^(−1/4) Qᵀ and s⁻¹ Λ^(1/4) Qᵀ.
    axes: Matrix<f64>,
    inverse: Matrix<f64>,
    /// s⁻¹ Λ^(1/4): what the coordinates of y are multiplied by to be those of Qᵀx.
    lengths: Vec<f32>,
    /// What is taken off x first.
    mean: Vec<f64>,
    /// Whether rows are brought to length 1 first.
    to_unit: bool,
}

impl Coordinates {
    /// For rows that have these mean squares along axes (as rows), the first the largest. Standard
    /// deviations up to `rounding` are that.
    pub(super) fn new(
        values: &[f64],
        axes: &Matrix<f64>,
        rounding: f64,
        mean: Vec<f64>,
        to_unit: bool,
    ) -> Result<Self> {
        let dim = values.len();
        let is_live = |value: f64| value > rounding * rounding;
        let floored: Vec<f64> = values.iter().map(|v| v.max(FLOOR * values[0])).collect();
        // E‖y‖² = s² Σ λ^(1/2).
        let live = floored.iter().zip(values).filter(|(_, v)| is_live(**v));
        let s = 1.0 / live.map(|(v, _)| v.sqrt()).sum::<f64>().sqrt();
        let (mut forward, mut inverse) = (axes.clone(), axes.clone());
        let mut lengths = Vec::with_capacity(dim);
        for (i, value) in floored.iter().enumerate() {
            let length = value.powf(0.25) / s;
            let [length, inverted] =
                if is_live(values[i]) { [length, 1.0 / length] } else { [0.0; 2] };
            lengths.push(length as f32);
            let scale = |row: &mut [f64], by: f64| row.iter_mut().for_each(|v| *v *= by);
            scale(&mut forward.as_mut_slice()[i * dim..][..dim], inverted);
            scale(&mut inverse.as_mut_slice()[i * dim..][..dim], length);
        }
        let weight = forward.as_slice().iter().map(|&v| v as f32).collect();
        let mut network = Network::linear(Matrix::new(dim, dim, weight)?, vec![0.0; dim]);
        network.shift_input(&mean, -1.0);
        Ok(Self { forward: network, axes: forward, inverse, lengths, mean, to_unit })
    }

    /// What the coordinates of y are multiplied by to be those of x along the axes.
    pub(super) fn lengths(&self) -> &[f32] {
        &self.lengths
    }

    /// What is taken off x first.
    pub(super) fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Qᵀ of a vector in the coordinates of x, without the mean, along the axes that are not left out.
    pub(super) fn along(&self, x: &[f64]) -> Vec<f32> {
        let dim = self.lengths.len();
        let rows = self.axes.as_slice().chunks_exact(dim);
        let along = |(axis, &length): (&[f64], &f32)| {
            let y: f64 = axis.iter().zip(x).map(|(a, x)| a * x).sum();
            (y * f64::from(length)) as f32
        };
        rows.zip(&self.lengths).map(along).collect()
    }

    /// Turns first weights of y to those of x − mean.
    pub(super) fn weights_of_rows(&self, ctx: &Context, weights: &mut [f32]) {
        self.turn(ctx, weights, self.map().view());
    }

    /// Turns the gradient by first weights of x − mean to that by those of y.
    pub(super) fn gradient_of_axes(&self, ctx: &Context, gradient: &mut [f32]) {
        self.turn(ctx, gradient, self.map().view().t());
    }

    fn turn(&self, ctx: &Context, values: &mut [f32], by: MatRef<'_, f32>) {
        let dim = self.lengths.len();
        let given = values.to_vec();
        let rows = values.len() / dim;
        let into = MatMut::new(values, rows, dim);
        matmul(ctx, 1.0, MatRef::new(&given, rows, dim), by, 0.0, into);
    }

    /// A.
    fn map(&self) -> &Matrix {
        self.forward.first_weight()
    }

    /// The network of y that gives what `network` gives of x.
    pub(super) fn enter(&self, ctx: &Context, network: &mut Network<f32>) {
        network.shift_input(&self.mean, 1.0);
        self.multiply(ctx, network, &self.inverse, true);
    }

    /// The inverse of [`enter`](Self::enter).
    pub(super) fn leave(&self, ctx: &Context, network: &mut Network<f32>) {
        self.multiply(ctx, network, &self.axes, false);
        network.shift_input(&self.mean, -1.0);
    }

    /// The first layer's weights times `by`, transposed or not, in `f64`.
    fn multiply(
        &self,
        ctx: &Context,
        network: &mut Network<f32>,
        by: &Matrix<f64>,
        transposed: bool,
    ) {
        let weight = network.first_weight_mut();
        let (rows, dim) = (weight.rows(), weight.cols());
        let wide: Vec<f64> = weight.as_slice().iter().map(|&w| w.into()).collect();
        let mut out = vec![0.0; rows * dim];
        let by = if transposed { by.view().t() } else { by.view() };
        let into = MatMut::new(&mut out, rows, dim);
        matmul(ctx, 1.0, MatRef::new(&wide, rows, dim), by, 0.0, into);
        for (w, v) in weight.as_mut_slice().iter_mut().zip(out) {
            *w = v as f32;
        }
    }
}

/// Rows as training reads them: at length 1 where only directions matter, and in these coordinates or
/// less the mean.
pub(super) struct Seen<'a> {
    x: Units<'a>,
    coordinates: Coordinates,
    /// Whether they are moved to the coordinates.
    is_moved: bool,
}

impl<'a> Seen<'a> {
    pub(super) fn new(x: &'a dyn Vectors, coordinates: &Coordinates, is_moved: bool) -> Self {
        let to_unit = coordinates.to_unit;
        Self { x: Units { x, to_unit }, coordinates: coordinates.clone(), is_moved }
    }

    fn see(&self, rows: &mut [f32]) {
        let (dim, Coordinates { forward, mean, .. }) = (self.x.dim(), &self.coordinates);
        if self.is_moved {
            for rows in rows.chunks_mut(ROWS * dim) {
                rows.copy_from_slice(forward.infer(rows).as_slice());
            }
        } else {
            for row in rows.chunks_exact_mut(dim) {
                row.iter_mut().zip(mean).for_each(|(v, &m)| *v = (f64::from(*v) - m) as f32);
            }
        }
    }
}

impl Vectors for Seen<'_> {
    fn n_rows(&self) -> usize {
        self.x.n_rows()
    }

    fn dim(&self) -> usize {
        self.x.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.x.read_rows(start, out)?;
        self.see(out);
        Ok(())
    }

    fn gather(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        self.x.gather(ids, out)?;
        self.see(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closed::{ClosedForms, Wanted};
    use crate::pca::Moments;

    const DIM: usize = 7;

    /// Rows whose columns have sizes from 3 to 0.03, but for a dead one, about an offset.
    fn rows() -> Matrix {
        let value = |i: usize| {
            let (row, j) = (i / DIM, i % DIM);
            let wave = ((row * row * (j + 3) % 7919) as f32 * 0.61).sin();
            if j == 4 { 2.0 } else { 1.0 + wave * 3.0 * 0.46_f32.powi(j as i32) }
        };
        Matrix::new(500, DIM, (0..500 * DIM).map(value).collect()).unwrap()
    }

    #[test]
    fn similarities_and_networks_are_those_of_the_rows() {
        let (ctx, x) = (Context::with_threads(1).unwrap(), rows());
        for is_centred in [true, false] {
            let moments = Moments::of(&ctx, &x).unwrap();
            let forms = ClosedForms::of_moments(&ctx, &moments, is_centred, Wanted::all(DIM));
            let (values, axes) = forms.second();
            let mean = if is_centred { moments.mean.clone() } else { vec![0.0; DIM] };
            let rounding = moments.rounding(values[0].sqrt());
            let inside = Coordinates::new(&values, axes, rounding, mean.clone(), false).unwrap();
            let y = Seen::new(&x, &inside, true);
            let mut y_rows = Matrix::zeros(500, DIM);
            y.read_rows(0, y_rows.as_mut_slice()).unwrap();
            let square: f64 = y_rows.as_slice().iter().map(|&v| f64::from(v).powi(2)).sum();
            assert!((square / 500.0 - 1.0).abs() < 1e-4, "the mean square length is 1");

            let similarity = |a: usize, b: usize| {
                let lengths = inside.lengths().iter();
                let terms = y_rows.row(a).iter().zip(y_rows.row(b)).zip(lengths);
                terms
                    .map(|((&a, &b), &l)| f64::from(a) * f64::from(b) * f64::from(l).powi(2))
                    .sum::<f64>()
            };
            for (a, b) in [(0, 1), (3, 3), (40, 17)] {
                let moved = |i: usize, j: usize| f64::from(x.row(i)[j]) - mean[j];
                let want: f64 = (0..DIM).map(|j| moved(a, j) * moved(b, j)).sum();
                assert!((similarity(a, b) - want).abs() < 1e-3 * want.abs().max(1.0), "{a} {b}");
            }

            let weight = Matrix::new(2, DIM, (0..2 * DIM).map(|i| (i as f32).cos()).collect());
            let network = Network::linear(weight.unwrap(), vec![0.3, -4.0]);
            let mut entered = network.clone();
            inside.enter(&ctx, &mut entered);
            let (want, got) = (network.infer(x.as_slice()), entered.infer(y_rows.as_slice()));
            for (want, got) in want.as_slice().iter().zip(got.as_slice()) {
                assert!((want - got).abs() < 2e-3, "{want} {got}");
            }
            inside.leave(&ctx, &mut entered);
            let back = entered.infer(x.as_slice());
            for (want, got) in want.as_slice().iter().zip(back.as_slice()) {
                assert!((want - got).abs() < 2e-3, "{want} {got} and back");
            }
        }
    }
}
