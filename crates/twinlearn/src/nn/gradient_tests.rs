//! Every kind of layer against central differences in `f64`.

use rand::Rng;
use twinlearn_core::context::Context;
use twinlearn_core::linalg::Matrix;
use twinlearn_core::random::{Purpose, generator};

use super::{Network, NetworkSpec, NormLayer};

fn random(rows: usize, cols: usize, seed: u64) -> Matrix<f64> {
    let mut rng = generator(seed, Purpose::Init, 0);
    let data = (0..rows * cols).map(|_| f64::from(rng.next_u32()) / 2f64.powi(31) - 1.0).collect();
    Matrix::new(rows, cols, data).unwrap()
}

/// Σ out · weights, a loss whose gradient by the output is `weights`.
fn loss(net: &Network<f64>, x: &Matrix<f64>, views: usize, weights: &Matrix<f64>) -> f64 {
    let ctx = Context::with_threads(1).unwrap();
    let mut net = net.clone();
    let mut tape = net.tape(x.rows());
    net.forward(&ctx, x.view(), views, &mut tape);
    tape.out().as_slice().iter().zip(weights.as_slice()).map(|(o, w)| o * w).sum()
}

fn assert_gradient(name: &str, got: f64, at: impl Fn(f64) -> f64) {
    let h = 1e-6;
    let want = (at(h) - at(-h)) / (2.0 * h);
    let error = (got - want).abs() / want.abs().max(1e-2);
    assert!(error < 1e-5, "{name}: {got} against {want}");
}

fn check(spec: &str, norm: NormLayer) {
    let spec: NetworkSpec = spec.parse().unwrap();
    let name = format!("{spec} {norm}");
    let (rows, views) = (12, 2);
    let mut rng = generator(5, Purpose::Init, 1);
    let mut net = Network::<f64>::random(&spec, norm, 4, 3, &mut rng);
    // Norms with scale 1 and shift 0 would hide errors.
    for (i, p) in net.parameters_mut().into_iter().enumerate() {
        p.iter_mut().enumerate().for_each(|(j, v)| *v += 0.3 * ((i * 7 + j) as f64).sin());
    }
    let x = random(rows, 4, 1);
    let weights = random(rows, 3, 2);

    let ctx = Context::with_threads(2).unwrap();
    let mut tape = net.tape(rows);
    let mut gradients: Vec<Vec<f64>> =
        net.parameters().iter().map(|(_, _, p)| vec![0.0; p.len()]).collect();
    let before = net.clone();
    net.forward(&ctx, x.view(), views, &mut tape);
    tape.out().as_mut_slice().copy_from_slice(weights.as_slice());
    let mut dx = Matrix::zeros(rows, 4);
    net.backward(&ctx, x.view(), &mut tape, &mut gradients);
    net.input_gradient(&ctx, &tape, &mut dx);

    for (p, gradient) in gradients.iter().enumerate() {
        for (j, &got) in gradient.iter().enumerate() {
            let label = format!("{name} {}[{j}]", before.parameters()[p].0);
            assert_gradient(&label, got, |h| {
                let mut net = before.clone();
                net.parameters_mut()[p][j] += h;
                loss(&net, &x, views, &weights)
            });
        }
    }
    for (i, &got) in dx.as_slice().iter().enumerate() {
        assert_gradient(&format!("{name} x[{i}]"), got, |h| {
            let mut x = x.clone();
            x.as_mut_slice()[i] += h;
            loss(&before, &x, views, &weights)
        });
    }
}

#[test]
fn linear() {
    check("linear", NormLayer::Batch);
}

#[test]
fn factorised_linear() {
    check("flinear-2-5-6", NormLayer::Batch);
    check("flinear-1-5", NormLayer::Layer);
}

#[test]
fn mlp() {
    check("mlp-2-6-5", NormLayer::Batch);
    check("mlp-2-5", NormLayer::Layer);
}

/// Trains the running statistics on one batch, then compares folded inference with the plain
/// formula in evaluation mode.
#[test]
fn folding_keeps_the_function() {
    let ctx = Context::with_threads(2).unwrap();
    for (spec, norm, blocks) in [
        ("linear", NormLayer::Batch, 1),
        ("flinear-2-6-5", NormLayer::Batch, 1),
        ("flinear-2-6-5", NormLayer::Layer, 3),
        ("mlp-2-6-5", NormLayer::Batch, 3),
        ("mlp-1-6", NormLayer::Layer, 2),
    ] {
        let mut rng = generator(3, Purpose::Init, 0);
        let mut net = Network::<f64>::random(&spec.parse().unwrap(), norm, 4, 3, &mut rng);
        let x = random(20, 4, 9);
        let mut tape = net.tape(20);
        net.forward(&ctx, x.view(), 2, &mut tape);
        let folded = net.folded();
        assert_eq!(folded.blocks.len(), blocks, "{spec} {norm}");

        let got = folded.infer(x.as_slice());
        let want: Vec<f64> = (0..20).flat_map(|i| evaluate(&net, x.row(i))).collect();
        for (g, w) in got.as_slice().iter().zip(&want) {
            assert!((g - w).abs() < 1e-12, "{spec} {norm}: {g} against {w}");
        }
    }
}

/// One row through the network in evaluation mode, by the formulas.
fn evaluate(net: &Network<f64>, x: &[f64]) -> Vec<f64> {
    let mut x = x.to_vec();
    for block in &net.blocks {
        let mut y: Vec<f64> = (0..block.out_width())
            .map(|i| block.weight.row(i).iter().zip(&x).map(|(w, x)| w * x).sum::<f64>())
            .collect();
        if let Some(bias) = &block.bias {
            y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
        if let Some(norm) = &block.norm {
            let n = y.len() as f64;
            let mean = y.iter().sum::<f64>() / n;
            let var = y.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            for (j, v) in y.iter_mut().enumerate() {
                let (mean, var) = match &norm.kind {
                    super::norm::NormKind::Layer => (mean, var),
                    super::norm::NormKind::Batch { running_mean, running_var } => {
                        (running_mean[j], running_var[j])
                    }
                };
                *v = (*v - mean) / (var + 1e-5).sqrt() * norm.scale[j] + norm.shift[j];
            }
        }
        if block.relu {
            y.iter_mut().for_each(|v| *v = v.max(0.0));
        }
        x = y;
    }
    x
}
