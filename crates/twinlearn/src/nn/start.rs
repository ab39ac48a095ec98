//! Networks that begin as a linear map.

use rand::Rng;
use twinlearn_core::linalg::Matrix;

use super::network::Network;
use super::norm::{EPS, Norm, NormKind};
use super::spec::{NetworkKind, NetworkSpec, NormLayer};

impl Network<f32> {
    /// A network of x that gives `weight` · x + `bias`, whose outputs have these means and standard
    /// deviations over the data. [`NetworkSpec::carries`] must hold.
    ///
    /// Hidden layers hand on the outputs divided by their deviations, which batch norm leaves as they
    /// are, for it adds the mean that it takes off; an
    /// `mlp` as two halves, because a = max(a, 0) − max(−a, 0). Hidden units beyond those begin at
    /// random and unheard.
    pub(crate) fn carrying(
        spec: &NetworkSpec,
        weight: &Matrix,
        bias: &[f32],
        [means, spreads]: [&[f64]; 2],
        rng: &mut impl Rng,
    ) -> Self {
        let (d, dim) = (weight.rows(), weight.cols());
        let mut network = Self::random(spec, NormLayer::Batch, dim, d, rng);
        let mlp = spec.kind() == NetworkKind::Mlp;
        let last = network.blocks.len() - 1;
        for (layer, block) in network.blocks.iter_mut().enumerate() {
            // What the output i of the map is divided by on the way in, and times on the way out.
            let gain = |i: usize| {
                let inner = if layer == 0 && last > 0 { 1.0 / spreads[i] } else { 1.0 };
                let outer = if layer == last && last > 0 { spreads[i] } else { 1.0 };
                inner * outer
            };
            let split = mlp && layer < last;
            let carried = if split { 2 * d } else { d };
            for unit in 0..carried {
                let (i, sign) = match (split, unit % 2) {
                    (true, 0) => (unit / 2, 1.0),
                    (true, _) => (unit / 2, -1.0),
                    (false, _) => (unit, 1.0),
                };
                let factor = sign * gain(i);
                let width = block.weight.cols();
                let row = &mut block.weight.as_mut_slice()[unit * width..][..width];
                if layer == 0 {
                    let from = weight.row(i);
                    row.iter_mut()
                        .zip(from)
                        .for_each(|(w, &v)| *w = (f64::from(v) * factor) as f32);
                } else {
                    row.fill(0.0);
                    if mlp {
                        (row[2 * i], row[2 * i + 1]) = (factor as f32, -factor as f32);
                    } else {
                        row[i] = factor as f32;
                    }
                }
                let shift = if layer == 0 { f64::from(bias[i]) * factor } else { 0.0 };
                if let Some(bias) = &mut block.bias {
                    bias[unit] = shift as f32;
                }
                if let Some(Norm {
                    kind: NormKind::Batch { running_mean, running_var },
                    shift: after,
                    ..
                }) = &mut block.norm
                {
                    let mean = sign * means[i] / spreads[i];
                    // Without a bias the mean of the product lacks what the bias would add.
                    let lacks = if block.bias.is_some() { 0.0 } else { shift };
                    running_mean[unit] = (mean - lacks) as f32;
                    running_var[unit] = (1.0 - EPS) as f32;
                    after[unit] = mean as f32;
                }
            }
        }
        network
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinlearn_core::random::{Purpose, generator};

    #[test]
    fn every_kind_of_network_begins_as_the_map() {
        let wave = |i: usize| (i as f32 * 0.7).sin() * 3.0;
        let weight = Matrix::new(3, 5, (0..15).map(wave).collect()).unwrap();
        let (bias, spreads) = ([0.5, -2.0, 40.0], [0.1, 7.0, 2.0]);
        let x = Matrix::new(8, 5, (15..55).map(wave).collect()).unwrap();
        for text in ["linear", "flinear-1-3", "flinear-2-9", "mlp-1-6", "mlp-3-7"] {
            let spec: NetworkSpec = text.parse().unwrap();
            assert!(spec.carries(3, NormLayer::Batch));
            let mut rng = generator(5, Purpose::Init, 0);
            let means = [0.0, 3.0, -0.5];
            let network = Network::carrying(&spec, &weight, &bias, [&means, &spreads], &mut rng);
            let got = network.folded().infer(x.as_slice());
            for row in 0..8 {
                for (i, got) in got.row(row).iter().enumerate() {
                    let product = weight.row(i).iter().zip(x.row(row)).map(|(w, x)| w * x);
                    let want = product.sum::<f32>() + bias[i];
                    assert!((got - want).abs() < 1e-3, "{text}: {got} {want}");
                }
            }
        }
    }
}
