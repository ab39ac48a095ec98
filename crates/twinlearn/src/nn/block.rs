//! One block of a network: linear, then perhaps norm, then perhaps ReLU.

use twinlearn_core::context::Context;
use twinlearn_core::linalg::{MatMut, MatRef, Matrix, Real, column_sums, matmul};

use super::norm::{Norm, Stats};

/// `y = relu?(norm?(x · weightᵀ + bias))`. In training a ReLU always follows a norm.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Block<T> {
    /// out × in.
    pub(crate) weight: Matrix<T>,
    pub(crate) bias: Option<Vec<T>>,
    pub(crate) norm: Option<Norm<T>>,
    pub(crate) relu: bool,
}

/// What a block's forward pass leaves for its backward pass.
#[derive(Debug)]
pub(super) struct BlockTape<T> {
    /// The linear output, where a norm follows it, and the norm's statistics.
    pre: Option<Matrix<T>>,
    stats: Vec<Stats<T>>,
    /// The block's output; in the backward pass, the gradient of the loss by it.
    pub(super) out: Matrix<T>,
}

#[cfg(test)]
impl<T> BlockTape<T> {
    /// Numbers in the buffers.
    pub(super) fn n_numbers(&self) -> usize {
        self.pre.iter().chain([&self.out]).map(|buffer| buffer.as_slice().len()).sum()
    }
}

impl<T: Real> Block<T> {
    pub(crate) fn in_width(&self) -> usize {
        self.weight.cols()
    }

    pub(crate) fn out_width(&self) -> usize {
        self.weight.rows()
    }

    pub(super) fn tape(&self, rows: usize) -> BlockTape<T> {
        let width = self.out_width();
        BlockTape {
            pre: self.norm.as_ref().map(|_| Matrix::zeros(rows, width)),
            stats: Vec::new(),
            out: Matrix::zeros(rows, width),
        }
    }

    fn linear(&self, ctx: &Context, x: MatRef<'_, T>, y: &mut Matrix<T>) {
        let beta = self.begin(y);
        matmul(ctx, T::from_f64(1.0), x, self.weight.view().t(), beta, y.view_mut());
    }

    /// Fills `y` with what the product is added to; returns the factor of that.
    fn begin(&self, y: &mut Matrix<T>) -> T {
        let Some(bias) = &self.bias else { return T::default() };
        for row in y.as_mut_slice().chunks_exact_mut(bias.len()) {
            row.copy_from_slice(bias);
        }
        T::from_f64(1.0)
    }

    /// Forward in training: batch norm takes each view's own statistics and updates the running
    /// ones, view after view.
    pub(super) fn forward(
        &mut self,
        ctx: &Context,
        x: MatRef<'_, T>,
        views: usize,
        tape: &mut BlockTape<T>,
    ) {
        match &mut tape.pre {
            None => self.linear(ctx, x, &mut tape.out),
            Some(pre) => {
                self.linear(ctx, x, pre);
                if let Some(norm) = &mut self.norm {
                    tape.stats = norm.forward(ctx, pre, views, self.relu, &mut tape.out);
                }
            }
        }
    }

    /// Backward: `tape.out` holds dL/dy on entry and the gradient by the linear output after.
    /// Writes the parameters' gradients in the order of [`parameters`](Self::parameters).
    pub(super) fn backward<'g>(
        &self,
        ctx: &Context,
        x: MatRef<'_, T>,
        tape: &mut BlockTape<T>,
        mut gradients: impl Iterator<Item = &'g mut Vec<T>>,
    ) {
        let mut next = || gradients.next().expect("one gradient for each parameter");
        let weight = next();
        let bias = self.bias.is_some().then(&mut next);
        if let (Some(norm), Some(pre)) = (&self.norm, &tape.pre) {
            let parts = norm.backward(ctx, pre, &tape.stats, self.relu, &mut tape.out);
            for part in parts {
                *next() = part;
            }
        }
        if let Some(bias) = bias {
            let [sums] = column_sums(ctx, 0..tape.out.rows(), self.out_width(), |i, cols, [s]| {
                for (s, &v) in s.iter_mut().zip(&tape.out.row(i)[cols]) {
                    *s += v.to_f64();
                }
            });
            *bias = sums.into_iter().map(T::from_f64).collect();
        }
        let into = MatMut::new(weight, self.out_width(), self.in_width());
        matmul(ctx, T::from_f64(1.0), tape.out.view().t(), x, T::default(), into);
    }

    /// dL/dx, after [`backward`](Self::backward).
    pub(super) fn input_gradient(&self, ctx: &Context, tape: &BlockTape<T>, dx: &mut Matrix<T>) {
        let one = T::from_f64(1.0);
        matmul(ctx, one, tape.out.view(), self.weight.view(), T::default(), dx.view_mut());
    }

    /// Forward of rows for inference, on the calling thread: a row's bits do not depend on those
    /// beside it. Batch norm must have been folded away.
    pub(super) fn infer(&self, x: &[T]) -> Matrix<T> {
        let mut out = Matrix::zeros(x.len() / self.in_width(), self.out_width());
        self.begin(&mut out);
        T::add_dots(x, self.weight.as_slice(), self.in_width(), out.as_mut_slice());
        if let Some(norm) = &self.norm {
            out.as_mut_slice().chunks_exact_mut(self.out_width()).for_each(|row| norm.infer(row));
        }
        if self.relu {
            for v in out.as_mut_slice() {
                if *v < T::default() {
                    *v = T::default();
                }
            }
        }
        out
    }

    /// Weight, bias, norm scale, norm shift, as far as they exist: name, shape and values.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, Vec<usize>, &[T])> {
        let weight = vec![self.out_width(), self.in_width()];
        let mut all = vec![("weight", weight, self.weight.as_slice())];
        if let Some(bias) = &self.bias {
            all.push(("bias", vec![bias.len()], bias));
        }
        if let Some(norm) = &self.norm {
            all.push(("norm.weight", vec![norm.scale.len()], &norm.scale));
            all.push(("norm.bias", vec![norm.shift.len()], &norm.shift));
        }
        all
    }
}
