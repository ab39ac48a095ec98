//! A chain of blocks.

use rand::Rng;
use twinlearn_core::context::Context;
use twinlearn_core::linalg::{MatRef, Matrix, Real};

use super::block::{Block, BlockTape};
use super::norm::{Norm, NormKind};
use super::spec::{NetworkKind, NetworkSpec, NormLayer};

/// A network: at least one block, each as wide as the next expects.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Network<T> {
    pub(super) blocks: Vec<Block<T>>,
}

/// The buffers of one forward and backward pass, allocated once.
#[derive(Debug)]
pub(crate) struct Tape<T> {
    blocks: Vec<BlockTape<T>>,
}

impl Tape<f32> {
    /// Bytes of the buffers of a network with these hidden layers, for inputs of `rows` rows.
    pub(crate) fn bytes(hidden: &[usize], output: usize, rows: usize) -> usize {
        // What a layer gives, and what its norm takes, if it has one.
        let numbers = rows.saturating_mul(2 * hidden.iter().sum::<usize>() + output);
        numbers.saturating_mul(size_of::<f32>())
    }
}

impl<T> Tape<T> {
    /// The network's output after forward; before backward the gradient by it goes here.
    pub(crate) fn out(&mut self) -> &mut Matrix<T> {
        &mut self.blocks.last_mut().expect("a network has blocks").out
    }
}

impl<T: Real> Network<T> {
    /// The network that `spec` describes, from `input` to `output` dimensions, with all weights 0.
    pub(crate) fn zeros(spec: &NetworkSpec, norm: NormLayer, input: usize, output: usize) -> Self {
        let mut blocks = Vec::with_capacity(spec.hidden().len() + 1);
        let mut width = input;
        let with_bias = spec.kind() != NetworkKind::Mlp;
        for &hidden in spec.hidden() {
            blocks.push(Block {
                weight: Matrix::zeros(hidden, width),
                bias: with_bias.then(|| vec![T::default(); hidden]),
                norm: Some(Norm::new(norm, hidden)),
                relu: spec.kind() == NetworkKind::Mlp,
            });
            width = hidden;
        }
        blocks.push(Block {
            weight: Matrix::zeros(output, width),
            bias: with_bias.then(|| vec![T::default(); output]),
            norm: None,
            relu: false,
        });
        Self { blocks }
    }

    /// [`zeros`](Self::zeros) with weights and biases uniform within ±1/√fan_in.
    pub(crate) fn random(
        spec: &NetworkSpec,
        norm: NormLayer,
        input: usize,
        output: usize,
        rng: &mut impl Rng,
    ) -> Self {
        let mut network = Self::zeros(spec, norm, input, output);
        for block in &mut network.blocks {
            let bound = 1.0 / (block.in_width() as f64).sqrt();
            let weight = block.weight.as_mut_slice().iter_mut();
            for v in weight.chain(block.bias.iter_mut().flatten()) {
                // 2^32 steps across the interval, its ends left out.
                let unit = (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0;
                *v = T::from_f64(bound * (2.0 * unit - 1.0));
            }
        }
        network
    }

    pub(crate) fn in_width(&self) -> usize {
        self.blocks[0].in_width()
    }

    pub(crate) fn out_width(&self) -> usize {
        self.blocks[self.blocks.len() - 1].out_width()
    }

    /// The weights that the input is multiplied by: the first of [`parameters`](Self::parameters).
    pub(crate) fn first_weight(&self) -> &Matrix<T> {
        &self.blocks[0].weight
    }

    /// The same, to be changed.
    pub(crate) fn first_weight_mut(&mut self) -> &mut Matrix<T> {
        &mut self.blocks[0].weight
    }

    /// Buffers for inputs of `rows` rows.
    pub(crate) fn tape(&self, rows: usize) -> Tape<T> {
        Tape { blocks: self.blocks.iter().map(|b| b.tape(rows)).collect() }
    }

    /// Forward in training over `views` stacked views; the output is [`Tape::out`].
    pub(crate) fn forward(
        &mut self,
        ctx: &Context,
        x: MatRef<'_, T>,
        views: usize,
        tape: &mut Tape<T>,
    ) {
        for i in 0..self.blocks.len() {
            let (before, rest) = tape.blocks.split_at_mut(i);
            let x = before.last().map_or(x, |t| t.out.view());
            self.blocks[i].forward(ctx, x, views, &mut rest[0]);
        }
    }

    /// Backward from the gradient in [`Tape::out`], which is spent. Writes one gradient for each
    /// of [`parameters`](Self::parameters).
    pub(crate) fn backward(
        &self,
        ctx: &Context,
        x: MatRef<'_, T>,
        tape: &mut Tape<T>,
        gradients: &mut [Vec<T>],
    ) {
        let mut end = gradients.len();
        for (i, block) in self.blocks.iter().enumerate().rev() {
            let (before, rest) = tape.blocks.split_at_mut(i);
            let start = end - block.parameters().len();
            let gradients = gradients[start..end].iter_mut();
            end = start;
            match before.last_mut() {
                Some(before) => {
                    block.backward(ctx, before.out.view(), &mut rest[0], gradients);
                    block.input_gradient(ctx, &rest[0], &mut before.out);
                }
                None => block.backward(ctx, x, &mut rest[0], gradients),
            }
        }
    }

    /// The gradient by the input, after [`backward`](Self::backward).
    pub(crate) fn input_gradient(&self, ctx: &Context, tape: &Tape<T>, dx: &mut Matrix<T>) {
        self.blocks[0].input_gradient(ctx, &tape.blocks[0], dx);
    }

    /// Every trained parameter: name, shape and values, in a fixed order.
    pub(crate) fn parameters(&self) -> Vec<(String, Vec<usize>, &[T])> {
        let named = |(i, block): (usize, _)| {
            let all: Vec<_> = Block::parameters(block);
            all.into_iter().map(move |(name, shape, values)| (format!("{i}.{name}"), shape, values))
        };
        self.blocks.iter().enumerate().flat_map(named).collect()
    }

    /// The running statistics of batch norm: name, shape and values.
    pub(crate) fn buffers(&self) -> Vec<(String, Vec<usize>, &[T])> {
        let mut all = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            if let Some(Norm { kind: NormKind::Batch { running_mean, running_var }, .. }) =
                &block.norm
            {
                let shape = vec![running_mean.len()];
                all.push((format!("{i}.norm.running_mean"), shape.clone(), &running_mean[..]));
                all.push((format!("{i}.norm.running_var"), shape, &running_var[..]));
            }
        }
        all
    }

    /// [`parameters`](Self::parameters) to be changed.
    pub(crate) fn parameters_mut(&mut self) -> Vec<&mut [T]> {
        self.state_mut().0
    }

    /// [`parameters`](Self::parameters) and [`buffers`](Self::buffers) to be changed.
    pub(crate) fn state_mut(&mut self) -> (Vec<&mut [T]>, Vec<&mut [T]>) {
        let (mut parameters, mut buffers) = (Vec::new(), Vec::new());
        for block in &mut self.blocks {
            parameters.push(block.weight.as_mut_slice());
            parameters.extend(block.bias.as_deref_mut());
            if let Some(norm) = &mut block.norm {
                parameters.push(&mut norm.scale);
                parameters.push(&mut norm.shift);
                if let NormKind::Batch { running_mean, running_var } = &mut norm.kind {
                    buffers.push(&mut running_mean[..]);
                    buffers.push(&mut running_var[..]);
                }
            }
        }
        (parameters, buffers)
    }

    /// [`parameters`](Self::parameters), then [`buffers`](Self::buffers), to be changed.
    pub(crate) fn arrays_mut(&mut self) -> Vec<(String, Vec<usize>, &mut [T])> {
        let named = self.parameters().into_iter().chain(self.buffers());
        let names: Vec<_> = named.map(|(name, shape, _)| (name, shape)).collect();
        let (parameters, buffers) = self.state_mut();
        let values = parameters.into_iter().chain(buffers);
        names.into_iter().zip(values).map(|((name, shape), v)| (name, shape, v)).collect()
    }

    /// Every array: [`parameters`](Self::parameters), then [`buffers`](Self::buffers).
    pub(crate) fn arrays(&self) -> Vec<(String, Vec<usize>, &[T])> {
        let mut all = self.parameters();
        all.extend(self.buffers());
        all
    }

    /// Forward of rows for inference, on the calling thread: a row's bits do not depend on those
    /// beside it. Batch norm must have been folded away by [`folded`](Self::folded).
    pub(crate) fn infer(&self, x: &[T]) -> Matrix<T> {
        let (first, rest) = self.blocks.split_first().expect("a network has blocks");
        rest.iter().fold(first.infer(x), |x, block| block.infer(x.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_buffers() {
        for spec in ["linear", "mlp-1-9", "flinear-2-5"] {
            let spec: NetworkSpec = spec.parse().unwrap();
            let tape = Network::<f32>::zeros(&spec, NormLayer::Batch, 7, 3).tape(20);
            let numbers: usize = tape.blocks.iter().map(BlockTape::n_numbers).sum();
            assert_eq!(Tape::bytes(spec.hidden(), 3, 20), 4 * numbers, "{spec}");
        }
    }
}
