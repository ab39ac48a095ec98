//! Folding a trained network into the fewest products for inference.

use twinlearn_core::linalg::{Matrix, Real};

use super::block::Block;
use super::network::Network;
use super::norm::{EPS, NormKind};

impl<T: Real> Network<T> {
    /// The same function in evaluation mode, with batch norm folded into the linear maps before
    /// it and linear maps that follow each other made one. `linear` and, with batch norm,
    /// `flinear` networks become one matrix and a bias. Computed in `f64`.
    pub(crate) fn folded(&self) -> Self {
        let mut out: Vec<Block<f64>> = Vec::new();
        for block in &self.blocks {
            let block = fold_norm(block);
            match out.last_mut() {
                Some(last) if last.norm.is_none() && !last.relu => *last = chain(last, &block),
                _ => out.push(block),
            }
        }
        Self { blocks: out.iter().map(convert).collect() }
    }

    /// The network of one linear map.
    pub(crate) fn linear(weight: Matrix<T>, bias: Vec<T>) -> Self {
        Self { blocks: vec![Block { weight, bias: Some(bias), norm: None, relu: false }] }
    }

    /// Takes the last layer's bias away.
    pub(crate) fn drop_bias(&mut self) {
        if let Some(last) = self.blocks.last_mut() {
            last.bias = None;
        }
    }

    /// Gives the last layer, which has none, a bias of zeros.
    pub(crate) fn restore_bias(&mut self) {
        if let Some(last) = self.blocks.last_mut() {
            last.bias = Some(vec![T::default(); last.out_width()]);
        }
    }

    /// Weight and bias of the one linear map that a folded network is, where it is one.
    pub(crate) fn as_linear(&self) -> Option<(&Matrix<T>, Option<&[T]>)> {
        match &self.blocks[..] {
            [Block { weight, bias, norm: None, relu: false }] => Some((weight, bias.as_deref())),
            _ => None,
        }
    }

    /// The network that gives the first `n` numbers.
    pub(crate) fn first_outputs(&self, n: usize) -> Self {
        let mut first = self.clone();
        if let Some(last) = first.blocks.last_mut() {
            let width = last.in_width();
            let mut weight = Matrix::zeros(n, width);
            weight.as_mut_slice().copy_from_slice(&last.weight.as_slice()[..n * width]);
            last.weight = weight;
            last.bias = last.bias.take().map(|bias| bias[..n].to_vec());
        }
        first
    }

    /// The network with its output multiplied by `map` (as wide as the output).
    pub(crate) fn mapped(mut self, map: Matrix<T>) -> Self {
        let map = Block { weight: map, bias: None, norm: None, relu: false };
        if let Some(last) = self.blocks.last_mut() {
            *last = convert(&chain(&convert(last), &convert(&map)));
        }
        self
    }
}

/// The block with its batch norm, if any, taken into weight and bias.
fn fold_norm<T: Real>(block: &Block<T>) -> Block<f64> {
    let mut folded: Block<f64> = convert(block);
    let norm = match folded.norm.take() {
        None => return folded,
        Some(norm) => norm,
    };
    let NormKind::Batch { running_mean, running_var } = &norm.kind else {
        folded.norm = Some(norm);
        return folded;
    };
    let width = folded.out_width();
    let mut bias = folded.bias.take().unwrap_or_else(|| vec![0.0; width]);
    let columns = folded.in_width();
    for (j, row) in folded.weight.as_mut_slice().chunks_exact_mut(columns).enumerate() {
        let gain = norm.scale[j] / (running_var[j] + EPS).sqrt();
        row.iter_mut().for_each(|w| *w *= gain);
        bias[j] = (bias[j] - running_mean[j]) * gain + norm.shift[j];
    }
    folded.bias = Some(bias);
    folded
}

/// `second(first(x))`, where `first` is linear alone.
fn chain(first: &Block<f64>, second: &Block<f64>) -> Block<f64> {
    let (out, inner, input) = (second.out_width(), first.out_width(), first.in_width());
    let mut weight = Matrix::zeros(out, input);
    for (i, row) in weight.as_mut_slice().chunks_exact_mut(input).enumerate() {
        for k in 0..inner {
            let factor = second.weight.row(i)[k];
            row.iter_mut().zip(first.weight.row(k)).for_each(|(w, &f)| *w += factor * f);
        }
    }
    let mut bias = second.bias.clone();
    if let Some(first_bias) = &first.bias {
        let bias = bias.get_or_insert_with(|| vec![0.0; out]);
        for (i, b) in bias.iter_mut().enumerate() {
            *b += second.weight.row(i).iter().zip(first_bias).map(|(w, f)| w * f).sum::<f64>();
        }
    }
    Block { weight, bias, norm: second.norm.clone(), relu: second.relu }
}

fn convert<A: Real, B: Real>(block: &Block<A>) -> Block<B> {
    let cast = |v: &[A]| v.iter().map(|&x| B::from_f64(x.to_f64())).collect::<Vec<B>>();
    Block {
        weight: Matrix::new(block.out_width(), block.in_width(), cast(block.weight.as_slice()))
            .expect("the same shape"),
        bias: block.bias.as_deref().map(cast),
        norm: block.norm.as_ref().map(|norm| super::Norm {
            scale: cast(&norm.scale),
            shift: cast(&norm.shift),
            kind: match &norm.kind {
                NormKind::Layer => NormKind::Layer,
                NormKind::Batch { running_mean, running_var } => NormKind::Batch {
                    running_mean: cast(running_mean),
                    running_var: cast(running_var),
                },
            },
        }),
        relu: block.relu,
    }
}
