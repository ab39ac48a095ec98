//! Whole steps against PyTorch in `f64`; `scripts/make_goldens.py` made the files.

use safetensors::SafeTensors;
use twinlearn_core::context::Context;
use twinlearn_core::linalg::Matrix;

use super::feed::{Batch, Kind, Source};
use super::step::{Learner, Networks, Space};
use crate::nn::{Network, NetworkSpec, NormLayer};
use crate::objective::Objective;
use crate::optimiser::{LarsConfig, OptimiserKind};
use crate::pairs::Pairs;
use crate::schedule::Schedule;

const STEPS: usize = 20;
const WARMUP_STEPS: usize = 5;
const LARS: LarsConfig = LarsConfig { momentum: 0.9, eta: 0.05, weight_decay: 1e-2 };
const LEARNING_RATE: f64 = 8.0;
const TOLERANCE: f64 = 1e-4;

pub(super) fn numbers<T: bytemuck::AnyBitPattern>(file: &SafeTensors<'_>, name: &str) -> Vec<T> {
    let data = file.tensor(name).unwrap().data().to_vec();
    data.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

pub(super) fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// Parameters and running statistics in the order of the golden files.
fn state(learner: &mut Learner) -> Vec<&mut [f32]> {
    let (_, arrays) = learner.state_mut();
    let networks = arrays.into_iter().filter(|(name, ..)| name.starts_with("training."));
    let is_buffer = |(name, ..): &(String, Vec<usize>, &mut [f32])| name.contains("running");
    let (buffers, parameters): (Vec<_>, Vec<_>) = networks.partition(is_buffer);
    parameters.into_iter().chain(buffers).map(|(_, _, values)| values).collect()
}

fn assert_state(file: &SafeTensors<'_>, learner: &mut Learner, tag: &str) {
    let read = |tag: &str, i: usize| numbers::<f64>(file, &format!("{tag}.{i:02}"));
    let parts = state(learner);
    let moves: Vec<f64> = (0..parts.len())
        .map(|i| norm(read(tag, i).iter().zip(read("start", i)).map(|(w, s)| w - s)))
        .collect();
    let all = norm(moves.iter().copied());
    for (i, got) in parts.into_iter().enumerate() {
        let error = norm(got.iter().zip(read(tag, i)).map(|(&g, w)| f64::from(g) - w));
        // Against how far the parameter moved, but a bias that a norm takes off again has no
        // gradient but rounding: so never against less than a hundredth of the whole move.
        let scale = moves[i].max(1e-2 * all);
        assert!(error < TOLERANCE * scale, "{tag}.{i:02}: {error:e} of {scale:e}");
    }
}

fn check(
    bytes: &[u8],
    encoder: &str,
    projector: Option<&str>,
    layer: NormLayer,
    d: usize,
    batch: usize,
) {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let x = Matrix::new(48, 20, numbers(&file, "x")).unwrap();
    let pairs: Vec<i32> = numbers(&file, "pairs");
    let losses: Vec<f64> = numbers(&file, "losses");
    let encoder: NetworkSpec = encoder.parse().unwrap();
    let projector = projector.map(|p| p.parse::<NetworkSpec>().unwrap());
    let ctx = Context::with_threads(2).unwrap();
    let mut learner = Learner::new(
        &ctx,
        Networks {
            encoder: Network::zeros(&encoder, layer, 20, d),
            projector: projector.map(|p| Network::zeros(&p, layer, d, p.projector_width(d))),
        },
        2 * batch,
        Objective::BarlowTwins { lambda: 3.9e-3, scale: 1.0 / 32.0 },
        OptimiserKind::Lars(LARS),
        Space::Own,
    );
    for (i, values) in state(&mut learner).into_iter().enumerate() {
        let start: Vec<f64> = numbers(&file, &format!("start.{i:02}"));
        assert_eq!(values.len(), start.len(), "start.{i:02}");
        values.iter_mut().zip(start).for_each(|(v, s)| *v = s as f32);
    }
    let unused = Pairs::selves(&[]);
    let kind = Kind::Pairs { frame: None, noise: None };
    let source = Source { ctx: &ctx, x: &x, pairs: &unused, kind, batch, seed: 0 };
    let mut rows = Batch { rows: Matrix::zeros(2 * batch, 20), weights: Matrix::zeros(0, 0) };
    let schedule = Schedule::new(LEARNING_RATE * batch as f64 / 256.0, WARMUP_STEPS, STEPS);
    for (step, pairs) in pairs.chunks_exact(2 * batch).enumerate() {
        let pairs: Vec<_> = pairs.chunks_exact(2).map(|p| (p[0] as u32, p[1] as u32)).collect();
        source.gather_pairs(None, None, &pairs, step, &mut rows.rows).unwrap();
        let loss = learner.step(&ctx, &rows, schedule.at(step)).total;
        let error = (loss - losses[step]).abs() / losses[step];
        assert!(error < TOLERANCE, "step {step}: loss {loss} against {}", losses[step]);
        if step == 0 {
            assert_state(&file, &mut learner, "first");
        }
    }
    assert_state(&file, &mut learner, "last");
}

macro_rules! golden {
    ($name:ident: $encoder:literal, $projector:expr, $layer:expr, $d:literal, $batch:literal) => {
        #[test]
        fn $name() {
            let bytes =
                include_bytes!(concat!("../../tests/goldens/", stringify!($name), ".safetensors"));
            check(bytes, $encoder, $projector, $layer, $d, $batch);
        }
    };
}

golden!(linear_primal: "linear", Some("mlp-2-14"), NormLayer::Batch, 5, 16);
golden!(linear_dual: "linear", Some("mlp-1-40"), NormLayer::Batch, 5, 16);
golden!(mlp_encoder: "mlp-1-18", Some("mlp-2-24-30"), NormLayer::Batch, 6, 12);
golden!(flinear_layer_norm: "flinear-1-16", Some("mlp-1-24"), NormLayer::Layer, 6, 12);
golden!(no_projector: "flinear-2-16-12", None, NormLayer::Batch, 6, 16);
