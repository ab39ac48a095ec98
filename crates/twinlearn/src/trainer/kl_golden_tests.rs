//! Whole steps of loss KL, with its coordinates and AdamW, against PyTorch in `f64`;
//! `scripts/make_kl_goldens.py` made the files.

use safetensors::SafeTensors;
use twinlearn_core::context::Context;
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::Metric;
use twinlearn_vectors::{Subset, Vectors};

use super::coordinates::{Coordinates, Seen};
use super::feed::Batch;
use super::golden_tests::{norm, numbers};
use super::step::{Learner, Networks, Space};
use crate::nn::Network;
use crate::objective::{Neighbourhoods, Objective, Prefix};
use crate::optimiser::OptimiserKind;
use crate::schedule::Schedule;

const STEPS: usize = 20;
const WARMUP_STEPS: usize = 5;
const ROWS: usize = 60;
const DIM: usize = 9;
const ANCHORS: usize = 12;
const BATCH: usize = 40;
const TOLERANCE: f64 = 1e-4;

/// The encoder and the logarithms of a.
fn golden_state(file: &SafeTensors<'_>, tag: &str) -> [Vec<f64>; 3] {
    ["weight", "bias", "log_scales"].map(|name| numbers(file, &format!("{tag}.{name}")))
}

fn assert_state(ctx: &Context, file: &SafeTensors<'_>, learner: &mut Learner, tag: &str) {
    let encoder = learner.networks(ctx, false).encoder;
    let (weight, bias) = encoder.as_linear().unwrap();
    let (_, arrays) = learner.state_mut();
    let scales = arrays.into_iter().find(|(name, ..)| name == "loss.0").unwrap().2;
    let got = [weight.as_slice(), bias.unwrap(), scales];
    let states = golden_state(file, tag).into_iter().zip(golden_state(file, "start"));
    for ((want, start), got) in states.zip(got) {
        let moved = norm(want.iter().zip(&start).map(|(w, s)| w - s));
        let error = norm(got.iter().zip(&want).map(|(&g, w)| f64::from(g) - w));
        assert!(error <= TOLERANCE * moved, "{tag}: {error:e} of {moved:e}");
    }
}

struct Case {
    metric: Metric,
    kinds: Vec<(usize, f64)>,
    prefixes: Vec<Prefix>,
    is_centred: bool,
}

/// Trains on rows in the coordinates, or on rows less the mean with weights that are turned.
fn check(bytes: &[u8], case: &Case, is_moved: bool) {
    let Case { metric, kinds, prefixes, is_centred } = case;
    let ctx = Context::with_threads(2).unwrap();
    let file = SafeTensors::deserialize(bytes).unwrap();
    let x = Matrix::new(ROWS, DIM, numbers(&file, "x")).unwrap();
    let axes = Matrix::new(DIM, DIM, numbers(&file, "moments.axes")).unwrap();
    let (values, mean): (Vec<f64>, _) =
        (numbers(&file, "moments.values"), numbers(&file, "moments.mean"));
    let to_unit = *metric == Metric::Cosine && !is_centred;
    let coordinates = Coordinates::new(&values, &axes, 0.0, mean, to_unit).unwrap();
    let [weight, bias, _] =
        golden_state(&file, "start").map(|v| v.into_iter().map(|v| v as f32).collect::<Vec<_>>());
    let encoder = Network::linear(Matrix::new(bias.len(), DIM, weight).unwrap(), bias);
    let of = Neighbourhoods {
        metric: *metric,
        factors: if is_moved { coordinates.lengths().to_vec() } else { vec![1.0; DIM] },
        centre: vec![0.0; DIM],
        kinds: kinds.clone(),
        rows: BATCH,
        prefixes: prefixes.clone(),
    };
    let optimiser = OptimiserKind::AdamW { decay: 0.01, by_row: true };
    let space = Space::axes(&ctx, (&coordinates, is_moved), !is_centred, &encoder);
    let networks = Networks { encoder, projector: None };
    let mut learner = Learner::new(&ctx, networks, BATCH, Objective::Kl(of), optimiser, space);

    let seen = Seen::new(&x, &coordinates, is_moved);
    let ids: Vec<i32> = numbers(&file, "rows");
    let weights: Vec<f32> = numbers(&file, "weights");
    let losses: Vec<f64> = numbers(&file, "losses");
    let schedule = Schedule::new(0.05, WARMUP_STEPS, STEPS);
    let steps = ids.chunks_exact(BATCH).zip(weights.chunks_exact(ANCHORS * BATCH));
    assert_eq!(steps.len(), STEPS);
    for (step, (ids, weights)) in steps.enumerate() {
        let ids: Vec<u32> = ids.iter().map(|&id| id as u32).collect();
        let mut rows = Matrix::zeros(BATCH, DIM);
        Subset::new(&seen, &ids).unwrap().read_rows(0, rows.as_mut_slice()).unwrap();
        let weights = Matrix::new(ANCHORS, BATCH, weights.to_vec()).unwrap();
        let loss = learner.step(&ctx, &Batch { rows, weights }, schedule.at(step)).total;
        let error = (loss - losses[step]).abs() / losses[step];
        assert!(error < TOLERANCE, "step {step}: loss {loss} against {}", losses[step]);
        if step == 0 {
            assert_state(&ctx, &file, &mut learner, "first");
        }
    }
    assert_state(&ctx, &file, &mut learner, "last");
}

macro_rules! golden {
    ($name:ident: $metric:expr, $kinds:expr, $prefixes:expr, $is_centred:literal) => {
        #[test]
        fn $name() {
            let bytes =
                include_bytes!(concat!("../../tests/goldens/", stringify!($name), ".safetensors"));
            let prefix = |(width, share, size)| Prefix { width, share, size };
            let prefixes = $prefixes.into_iter().map(prefix).collect();
            let (metric, kinds, is_centred) = ($metric, $kinds.to_vec(), $is_centred);
            let case = Case { metric, kinds, prefixes, is_centred };
            check(bytes, &case, true);
            check(bytes, &case, false);
        }
    };
}

golden!(kl_cosine: Metric::Cosine, [(12, 0.1)], [(4, 1.0, 1.0)], false);
golden!(kl_l2: Metric::L2, [(12, 0.5)], [(4, 1.0, 2.0)], false);
golden!(kl_ip: Metric::Ip, [(12, 0.3)], [(4, 1.0, 1.5)], false);
golden!(kl_nested_queries: Metric::Cosine, [(8, 0.1), (4, 0.2)], [(2, 0.3, 1.0), (5, 1.0, 1.0)], false);
golden!(kl_centred: Metric::Cosine, [(12, 0.15)], [(3, 1.0, 1.0)], true);
