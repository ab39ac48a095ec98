//! Linear maps with a bias: what closed forms give and linear encoders are.

use rand::Rng;
use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;
use twinlearn_core::random::{Purpose, generator};
use twinlearn_vectors::Vectors;

use crate::nn::{Network, encode};

/// `z = weight · x + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMap {
    pub(crate) weight: Matrix,
    pub(crate) bias: Vec<f32>,
}

impl LinearMap {
    /// d × D.
    #[must_use]
    pub fn weight(&self) -> &Matrix {
        &self.weight
    }

    /// d numbers.
    #[must_use]
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// The same map without its bias: about the origin, as cosines are, and not about the mean.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.bias.fill(0.0);
        self
    }

    /// The coordinates of x − `mean` along the first rows of `axes`, each times its gain.
    pub(crate) fn along(
        axes: &Matrix<f64>,
        mean: &[f64],
        gains: impl ExactSizeIterator<Item = f64>,
    ) -> Result<Self> {
        let n_components = gains.len();
        let mut weight = Vec::with_capacity(n_components * mean.len());
        let mut bias = Vec::with_capacity(n_components);
        for (i, gain) in gains.enumerate() {
            let axis = axes.row(i);
            weight.extend(axis.iter().map(|v| (v * gain) as f32));
            let centre: f64 = axis.iter().zip(mean).map(|(a, m)| a * m).sum();
            bias.push((-centre * gain) as f32);
        }
        Ok(Self { weight: Matrix::new(n_components, mean.len(), weight)?, bias })
    }

    /// With outputs of 0 up to `n_components` of them.
    pub(crate) fn padded(self, n_components: usize) -> Self {
        let Self { weight, mut bias } = self;
        if bias.len() >= n_components {
            return Self { weight, bias };
        }
        let mut wide = Matrix::zeros(n_components, weight.cols());
        wide.as_mut_slice()[..weight.as_slice().len()].copy_from_slice(weight.as_slice());
        bias.resize(n_components, 0.0);
        Self { weight: wide, bias }
    }

    /// The first `n_components` coordinates of vectors of dimension `dim`.
    ///
    /// # Errors
    /// When `n_components` is 0 or above `dim`.
    pub fn truncation(dim: usize, n_components: usize) -> Result<Self> {
        check_components(dim, n_components)?;
        let mut weight = Matrix::zeros(n_components, dim);
        for i in 0..n_components {
            weight.as_mut_slice()[i * dim + i] = 1.0;
        }
        Ok(Self { weight, bias: vec![0.0; n_components] })
    }

    /// A random projection: independent entries ±1/√d (Achlioptas, 2003), which keeps squared
    /// lengths in expectation.
    ///
    /// # Errors
    /// When `n_components` is 0 or above `dim`.
    pub fn random_projection(dim: usize, n_components: usize, seed: u64) -> Result<Self> {
        check_components(dim, n_components)?;
        let mut rng = generator(seed, Purpose::Projection, 0);
        let size = 1.0 / (n_components as f32).sqrt();
        let entry = |_| if rng.next_u32() & 1 == 0 { size } else { -size };
        let weight = (0..n_components * dim).map(entry).collect();
        Ok(Self { weight: Matrix::new(n_components, dim, weight)?, bias: vec![0.0; n_components] })
    }

    /// Maps every row of `x`: N × d.
    ///
    /// # Errors
    /// When `x` has another dimension, cannot be read, or the work is cancelled.
    pub fn transform(&self, ctx: &Context, x: &dyn Vectors) -> Result<Matrix> {
        let dim = self.weight.cols();
        if x.dim() != dim {
            return Err(Error::invalid("X", format_args!("dimension {dim}"), x.dim()));
        }
        encode(ctx, &self.network(), x)
    }

    /// The map as a network of one layer.
    pub(crate) fn network(&self) -> Network<f32> {
        Network::linear(self.weight.clone(), self.bias.clone())
    }
}

pub(crate) fn check_components(dim: usize, n_components: usize) -> Result<()> {
    if n_components == 0 || n_components > dim {
        return Err(Error::invalid(
            "n_components",
            format_args!("a number from 1 to {dim} (the dimension of X)"),
            n_components,
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_takes_the_first_coordinates() {
        let ctx = Context::with_threads(1).unwrap();
        let x = Matrix::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let z = LinearMap::truncation(3, 2).unwrap().transform(&ctx, &x).unwrap();
        assert_eq!(z.as_slice(), [1.0, 2.0, 4.0, 5.0]);
    }
}
