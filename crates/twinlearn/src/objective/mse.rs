//! Reconstruction: how far what the networks give is from what they were given.
//!
//! For the 2B rows x of both views and the outputs x̂, L = (1/2B) Σ ‖x̂ − x‖². In the coordinates of
//! training, where rows are 1 from their mean on average, that is the share of their variance that
//! is lost.

use twinlearn_core::context::Context;
use twinlearn_core::linalg::{Matrix, Real};

use super::loss::{Input, Loss, LossParts};

/// The loss.
pub(super) struct Reconstruction;

impl Loss for Reconstruction {
    fn loss_and_gradient(
        &mut self,
        ctx: &Context,
        input: Input<'_>,
        z: &mut Matrix,
        _: &mut [f32],
    ) -> LossParts {
        reconstruction(ctx, input.rows, z)
    }
}

/// The loss of outputs `z` for the rows `x`; `z` is replaced by its gradient.
fn reconstruction<T: Real>(ctx: &Context, x: &Matrix<T>, z: &mut Matrix<T>) -> LossParts {
    let (rows, width) = (z.rows(), z.cols());
    let share = 1.0 / rows as f64;
    let gain = T::from_f64(2.0 * share);
    let mut losses = vec![0.0; rows];
    let mut pieces: Vec<_> =
        z.as_mut_slice().chunks_exact_mut(width).zip(losses.iter_mut()).collect();
    ctx.for_each_chunk(&mut pieces, 1, |i, piece| {
        let (z, loss) = &mut piece[0];
        for (z, &x) in z.iter_mut().zip(x.row(i)) {
            let off = *z - x;
            **loss += off.to_f64() * off.to_f64();
            *z = gain * off;
        }
    });
    let total = losses.iter().sum::<f64>() * share;
    LossParts { total, on_diagonal: 0.0, off_diagonal: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_equals_central_differences() {
        let ctx = Context::with_threads(2).unwrap();
        let wave = |phase: f64| {
            Matrix::new(4, 3, (0..12).map(|i| (f64::from(i) + phase).sin()).collect()).unwrap()
        };
        let (x, z) = (wave(0.0), wave(0.3));
        let loss = |z: &Matrix<f64>| reconstruction(&ctx, &x, &mut z.clone()).total;
        let squares = x.as_slice().iter().zip(z.as_slice()).map(|(x, z)| (x - z).powi(2));
        assert!((loss(&z) - squares.sum::<f64>() / 4.0).abs() < 1e-12);
        let mut gradient = z.clone();
        reconstruction(&ctx, &x, &mut gradient);
        for i in 0..12 {
            let at = |step: f64| {
                let mut z = z.clone();
                z.as_mut_slice()[i] += step;
                loss(&z)
            };
            let want = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((gradient.as_slice()[i] - want).abs() < 1e-8);
        }
    }
}
