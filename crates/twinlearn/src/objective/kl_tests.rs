//! The neighbourhood-KL loss against its definition and against central differences.

use twinlearn_core::context::Context;
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::Metric;

use super::kl::{Kl, NeighbourhoodKl, Neighbourhoods, Prefix};

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Ip, Metric::L2];

fn waves(rows: usize, cols: usize, phase: f64) -> Matrix<f64> {
    let value = |i: usize| (i as f64 * 1.7 + phase).sin() + (i as f64 * 0.31).cos();
    Matrix::new(rows, cols, (0..rows * cols).map(value).collect()).unwrap()
}

fn prefix(width: usize, share: f64) -> Prefix {
    Prefix { width, share, size: 1.0 }
}

/// Four rows and two queries of 14 rows; two prefixes.
fn of(metric: Metric, dim: usize) -> Neighbourhoods {
    Neighbourhoods {
        metric,
        factors: vec![2.0; dim],
        centre: vec![0.25; dim],
        kinds: vec![(4, 0.3), (2, 0.5)],
        rows: 14,
        prefixes: vec![prefix(2, 0.5), prefix(3, 2.0)],
    }
}

const LOG_SCALES: [f32; 4] = [0.5, 1.25, 0.75, -0.25];

/// Weights from 0 to 4; no anchor sees itself, and nobody the last row.
fn weights() -> Matrix<f64> {
    let of = |(i, j)| if i == j || j == 13 { 0.0 } else { ((i * 5 + j * 3) % 5) as f64 };
    let all = (0..6).flat_map(|i| (0..14).map(move |j| (i, j)));
    Matrix::new(6, 14, all.map(of).collect()).unwrap()
}

fn run(
    of: &Neighbourhoods,
    x: &Matrix<f64>,
    z: &Matrix<f64>,
    logs: &[f32],
) -> (f64, Matrix<f64>, Vec<f32>) {
    let ctx = Context::with_threads(2).unwrap();
    let mut loss = NeighbourhoodKl::new(of.clone(), x.cols());
    let (mut gradient, mut slopes) = (z.clone(), vec![0.0; logs.len()]);
    let parts = loss.loss_and_gradient(&ctx, x, Some(&weights()), &mut gradient, logs, &mut slopes);
    (parts.total, gradient, slopes)
}

/// The loss by its definition.
fn naive(of: &Neighbourhoods, x: &Matrix<f64>, z: &Matrix<f64>, logs: &[f32]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let similarity = |a: &[f64], b: &[f64]| match of.metric {
        Metric::Cosine => dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
        Metric::Ip => dot(a, b),
        Metric::L2 => -a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 2.0,
    };
    let centred = |i: usize| x.row(i).iter().map(|v| 2.0 * v - 0.25).collect::<Vec<f64>>();
    let weights = weights();
    let mut loss = 0.0;
    for i in 0..6 {
        let kind = usize::from(i >= 4);
        let softmax = |logits: Vec<f64>| {
            let each = |(l, &w): (&f64, &f64)| w * l.exp();
            let all: Vec<f64> = logits.iter().zip(weights.row(i)).map(each).collect();
            let sum: f64 = all.iter().sum();
            all.into_iter().map(|v| v / sum).collect::<Vec<f64>>()
        };
        let tau = of.kinds[kind].1;
        let p = softmax((0..14).map(|j| similarity(&centred(i), &centred(j)) / tau).collect());
        for (prefix, &Prefix { width, share, .. }) in of.prefixes.iter().enumerate() {
            let scale = f64::from(logs[2 * prefix + kind]).exp();
            let part = |j: usize| &z.row(j)[..width];
            let q = softmax((0..14).map(|j| similarity(part(i), part(j)) * scale).collect());
            let terms = p.iter().zip(&q).filter(|(p, _)| **p > 0.0);
            loss += share / 6.0 * terms.map(|(p, q)| p * (p / q).ln()).sum::<f64>();
        }
    }
    loss
}

#[test]
fn bytes_are_those_of_the_buffers() {
    let prefixes = [3, 5].map(|width| Prefix { width, share: 1.0, size: 1.0 }).to_vec();
    let of = Neighbourhoods {
        metric: Metric::Cosine,
        factors: vec![1.0; 8],
        centre: vec![0.0; 8],
        kinds: vec![(4, 0.1), (2, 0.1)],
        rows: 18,
        prefixes,
    };
    let made = NeighbourhoodKl::<f32>::new(of, 8);
    // A step copies what the networks give.
    assert_eq!(Kl::bytes(6, 18, 8, 5), made.held() + 4 * 18 * 5);
}

#[test]
fn the_loss_is_its_definition() {
    let (x, z) = (waves(14, 9, 0.1), waves(14, 3, 0.8));
    for metric in METRICS {
        let of = of(metric, 9);
        let (got, want) = (run(&of, &x, &z, &LOG_SCALES).0, naive(&of, &x, &z, &LOG_SCALES));
        assert!((got - want).abs() < 1e-12 * want, "{metric}: {got} {want}");
    }
}

#[test]
fn nothing_is_left_when_the_reduced_rows_are_the_inputs() {
    let x = waves(14, 9, 0.1);
    let centred = x.as_slice().iter().map(|v| 2.0 * v - 0.25).collect();
    let same = Matrix::new(14, 9, centred).unwrap();
    for metric in METRICS {
        let of = Neighbourhoods { prefixes: vec![prefix(9, 1.0)], ..of(metric, 9) };
        let logs = of.initial_log_scales();
        let (loss, gradient, slopes) = run(&of, &x, &same, &logs);
        // The logarithms are kept as f32.
        assert!(loss.abs() < 1e-12 && slopes.iter().all(|s| s.abs() < 1e-6), "{loss} {slopes:?}");
        assert!(gradient.as_slice().iter().all(|g| g.abs() < 1e-6));
    }
}

#[test]
fn gradients_equal_central_differences() {
    let (x, z) = (waves(14, 6, 0.4), waves(14, 4, 0.9));
    for metric in METRICS {
        let of = of(metric, 6);
        let (_, gradient, slopes) = run(&of, &x, &z, &LOG_SCALES);
        let h = 1e-5;
        for i in 0..z.as_slice().len() {
            let at = |step: f64| {
                let mut z = z.clone();
                z.as_mut_slice()[i] += step;
                run(&of, &x, &z, &LOG_SCALES).0
            };
            let want = (at(h) - at(-h)) / (2.0 * h);
            assert!((gradient.as_slice()[i] - want).abs() < 1e-7, "{metric} {i}");
        }
        let h = 1e-2;
        for i in 0..4 {
            let at = |step: f32| {
                let mut logs = LOG_SCALES;
                logs[i] += step;
                run(&of, &x, &z, &logs).0
            };
            let want = (at(h) - at(-h)) / f64::from(2.0 * h);
            assert!(
                (f64::from(slopes[i]) - want).abs() < 1e-3 * want.abs().max(0.1),
                "{metric} {i}"
            );
        }
    }
}

#[test]
fn rows_of_zeros_and_anchors_without_rows_have_no_gradient() {
    let (x, mut z) = (waves(14, 5, 0.4), waves(14, 3, 0.9));
    z.as_mut_slice()[3..6].fill(0.0);
    let (loss, gradient, _) = run(&of(Metric::Cosine, 5), &x, &z, &LOG_SCALES);
    assert!(loss.is_finite() && gradient.as_slice()[3..6] == [0.0; 3]);
    assert!(gradient.as_slice().iter().all(|g| g.is_finite()));

    let ctx = Context::with_threads(1).unwrap();
    let mut loss = NeighbourhoodKl::new(of(Metric::L2, 5), 5);
    let mut slopes = [0.0; 4];
    let nothing = Matrix::zeros(6, 14);
    let parts = loss.loss_and_gradient(&ctx, &x, Some(&nothing), &mut z, &LOG_SCALES, &mut slopes);
    assert_eq!((parts.total, slopes), (0.0, [0.0; 4]));
    assert!(z.as_slice().iter().all(|&g| g == 0.0));
}
