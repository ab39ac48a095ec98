//! Coordinates in which a network is trained, whatever those of its input are.

use twinlearn_core::linalg::Matrix;

use super::network::Network;
use super::norm::{Norm, NormKind};

/// The size of a linear encoder's weights in training: √(mean square) · √(D/384).
const WEIGHT: f64 = 0.16;

/// x' = (x − μ) / s, and an output that is g times larger. In these coordinates a learning rate
/// means the same whatever the scale and the origin of X, of which steps on single weights, as
/// AdamW's are, would otherwise depend.
#[derive(Clone, Debug)]
pub(crate) struct InputFrame {
    /// μ; zero for networks that can't take up a shift.
    pub(crate) mean: Vec<f64>,
    /// s.
    scale: f64,
    /// g.
    gain: f64,
}

impl InputFrame {
    /// For inputs about `mean` of root mean square length `scale` from it.
    pub(crate) fn new(network: &Network<f32>, mean: &[f64], scale: f64) -> Self {
        let mean = if network.shifts() { mean.to_vec() } else { vec![0.0; mean.len()] };
        let gain = match &network.blocks[..] {
            [block] => {
                let weight = block.weight.as_slice().iter();
                let square: f64 = weight.map(|&w| f64::from(w) * f64::from(w)).sum();
                // √(Σw²/(dD)) · s · √(D/384) should be the constant.
                let size = (square / (block.out_width() as f64 * 384.0)).sqrt() * scale;
                if size > 0.0 { WEIGHT / size } else { 1.0 }
            }
            _ => 1.0,
        };
        Self { mean, scale, gain }
    }

    /// The network of x' that gives g times what `network` gives of x. A projector after it is
    /// made to take that.
    pub(crate) fn enter(&self, network: &mut Network<f32>, projector: Option<&mut Network<f32>>) {
        network.shift_input(&self.mean, 1.0);
        let first = &mut network.blocks[0];
        scale(first.weight.as_mut_slice(), self.scale);
        network.scale_output(self.gain);
        if let Some(projector) = projector {
            scale(projector.blocks[0].weight.as_mut_slice(), 1.0 / self.gain);
        }
    }

    /// The inverse of [`enter`](Self::enter).
    pub(crate) fn leave(&self, network: &mut Network<f32>, projector: Option<&mut Network<f32>>) {
        network.scale_output(1.0 / self.gain);
        let first = &mut network.blocks[0];
        scale(first.weight.as_mut_slice(), 1.0 / self.scale);
        network.shift_input(&self.mean, -1.0);
        if let Some(projector) = projector {
            scale(projector.blocks[0].weight.as_mut_slice(), self.gain);
        }
    }

    /// Rows of x, moved to these coordinates.
    pub(crate) fn move_rows(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.mean.len()) {
            for (v, m) in row.iter_mut().zip(&self.mean) {
                *v = ((f64::from(*v) - m) / self.scale) as f32;
            }
        }
    }
}

impl Network<f32> {
    /// Whether it can take up a shift of its input.
    pub(crate) fn shifts(&self) -> bool {
        let first = &self.blocks[0];
        first.bias.is_some() || first.norm.as_ref().is_some_and(is_batch)
    }

    /// Makes it take x − μ for x (sign 1), or the other way round (−1): adds ±Wμ to what the first
    /// product gives.
    pub(crate) fn shift_input(&mut self, mean: &[f64], sign: f64) {
        let block = &mut self.blocks[0];
        let product = times(&block.weight, mean);
        let add = |values: &mut [f32], sign: f64| {
            for (v, p) in values.iter_mut().zip(&product) {
                *v = (f64::from(*v) + sign * p) as f32;
            }
        };
        if let Some(bias) = &mut block.bias {
            add(bias, sign);
        } else if let Some(Norm { kind: NormKind::Batch { running_mean, .. }, .. }) =
            &mut block.norm
        {
            // Batch norm takes off any shift, so that only its running mean knows of it.
            add(running_mean, -sign);
        }
    }

    /// Multiplies what it gives.
    pub(crate) fn scale_output(&mut self, factor: f64) {
        let last = self.blocks.len() - 1;
        let block = &mut self.blocks[last];
        scale(block.weight.as_mut_slice(), factor);
        scale(block.bias.as_deref_mut().unwrap_or_default(), factor);
    }
}

fn is_batch(norm: &Norm<f32>) -> bool {
    matches!(norm.kind, NormKind::Batch { .. })
}

fn scale(values: &mut [f32], factor: f64) {
    values.iter_mut().for_each(|v| *v = (f64::from(*v) * factor) as f32);
}

fn times(weight: &Matrix, x: &[f64]) -> Vec<f64> {
    let row = |row: &[f32]| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum();
    weight.as_slice().chunks_exact(weight.cols()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{NetworkSpec, NormLayer};
    use twinlearn_core::random::{Purpose, generator};

    #[test]
    fn a_network_in_a_frame_is_the_same_function() {
        let mean = [300.0, -20.0, 7.0, 0.5];
        let scale = 12.0;
        let x: Vec<f32> = (0..20).map(|i| (i as f32).sin() * 9.0 + mean[i % 4] as f32).collect();
        let x = Matrix::new(5, 4, x).unwrap();
        for (spec, layer) in [
            ("linear", NormLayer::Batch),
            ("flinear-1-6", NormLayer::Layer),
            ("mlp-1-6", NormLayer::Batch),
            ("mlp-1-6", NormLayer::Layer),
        ] {
            let spec: NetworkSpec = spec.parse().unwrap();
            let mut rng = generator(3, Purpose::Init, 0);
            let network = Network::<f32>::random(&spec, layer, 4, 3, &mut rng);
            let frame = InputFrame::new(&network, &mean, scale);
            let mut inside = network.clone();
            frame.enter(&mut inside, None);
            let mut moved = x.clone();
            frame.move_rows(moved.as_mut_slice());
            let want = network.folded().infer(x.as_slice());
            let got = inside.folded().infer(moved.as_slice());
            for (got, want) in got.as_slice().iter().zip(want.as_slice()) {
                let want = f64::from(*want) * frame.gain;
                assert!((f64::from(*got) - want).abs() < 1e-3 * want.abs().max(1.0), "{spec}");
            }
            frame.leave(&mut inside, None);
            let back = inside.folded().infer(x.as_slice());
            for (got, want) in back.as_slice().iter().zip(want.as_slice()) {
                assert!((got - want).abs() < 1e-3 * want.abs().max(1.0), "{spec} and back");
            }
        }
    }
}
