//! Fits as users make them: what each way of training is worth on held-out rows.

#[path = "support/warnings.rs"]
mod warnings;

use std::sync::{Arc, Mutex};

use twinlearn::{
    Context, Event, FileVectors, Fit, FitData, Init, KnnGraph, Loss, Matrix, Metric, NormLayer,
    Observer, Optimizer, Params, ParamsBuilder, Pca, Solver, Trainer, Vectors,
};
use warnings::Warnings;

/// 4000 sentence embeddings of dimension 384.
fn real() -> FileVectors {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    FileVectors::open(root.join("../../data/train_x.npy")).unwrap()
}

fn fit_with(ctx: &Context, x: &dyn Vectors, params: ParamsBuilder) -> Fit {
    Trainer::new(params.build().unwrap()).fit(ctx, x).unwrap()
}

fn fit(x: &dyn Vectors, params: ParamsBuilder) -> Fit {
    fit_with(&Context::with_threads(2).unwrap(), x, params)
}

fn kl() -> ParamsBuilder {
    Params::builder().loss(Loss::KL).n_components(32)
}

#[derive(Default)]
struct Losses(Mutex<Vec<f64>>);

impl Observer for Losses {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::Step(report) = event {
            self.0.lock().unwrap().push(report.loss);
        }
    }
}

/// The mean losses of the first and the last tenth of the steps.
fn losses_of(x: &dyn Vectors, params: ParamsBuilder) -> (f64, f64) {
    let losses = Arc::new(Losses::default());
    let ctx = Context::with_threads(2).unwrap().observer(losses.clone());
    fit_with(&ctx, x, params);
    let losses = losses.0.lock().unwrap();
    let tenth = losses.len() / 10;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    (mean(&losses[..tenth]), mean(&losses[losses.len() - tenth..]))
}

#[test]
fn kl_keeps_more_neighbours_than_its_start_and_than_pca() {
    let report = fit(&real(), kl()).report;
    let v = report.validation.unwrap();
    let (start, pca) = (v.start_recall.unwrap(), v.pca_recall.unwrap());
    // The standard error of 400 rows' recall is about .008.
    assert!(v.recall > start + 0.02 && v.recall > pca + 0.02, "{v:?}");
    assert!(report.training.best_step.unwrap() > 0);
}

#[test]
fn linear_encoders_begin_about_what_the_metric_is_about() {
    let x = real();
    let bias = |params: ParamsBuilder| {
        let model = fit(&x, params.n_components(8).solver(Solver::Spectral)).model;
        model.linear_map().unwrap().bias().iter().fold(0.0_f32, |m, b| m.max(b.abs()))
    };
    for (metric, centred) in [(Metric::Cosine, false), (Metric::Ip, false), (Metric::L2, true)] {
        assert_eq!(bias(Params::builder().metric(metric)) > 0.0, centred, "{metric}");
    }
}

#[test]
fn kl_gives_the_same_bits_at_any_number_of_threads() {
    let x = real();
    let bytes = |threads| {
        let ctx = Context::with_threads(threads).unwrap();
        fit_with(&ctx, &x, kl().epochs(2)).model.to_bytes().unwrap()
    };
    let one = bytes(1);
    assert!(one == bytes(2) && one == bytes(4));
}

#[test]
fn kl_does_not_mind_the_scale_and_the_origin_of_x() {
    let x = real();
    let mut rows = vec![0.0; 4000 * 384];
    x.read_rows(0, &mut rows).unwrap();
    let near = Matrix::new(4000, 384, rows).unwrap();
    let far = near.as_slice().iter().map(|v| v * 4096.0 + 50.0).collect();
    let far = Matrix::new(4000, 384, far).unwrap();
    let recall = |x: &Matrix| {
        let params = kl().metric(Metric::L2).epochs(3);
        fit(x, params).report.validation.unwrap().recall
    };
    let (near, far) = (recall(&near), recall(&far));
    assert!((near - far).abs() < 0.01, "{near} {far}");
}

#[test]
fn every_way_of_training_lowers_its_loss() {
    let x = real();
    let base = || Params::builder().n_components(16).epochs(6).validation_fraction(0.0);
    let projector: Option<twinlearn::NetworkSpec> = Some("mlp-1-64".parse().unwrap());
    for (name, params) in [
        ("KL, linear", base().loss(Loss::KL)),
        ("KL, mlp", base().loss(Loss::KL).encoder("mlp-1-64".parse().unwrap())),
        ("KL, LARS", base().loss(Loss::KL).optimizer(Optimizer::Lars).learning_rate(0.05)),
        ("BT, LARS", base().projector(projector.clone()).learning_rate(1.0)),
        (
            "BT, AdamW",
            base().projector(projector.clone()).optimizer(Optimizer::AdamW).learning_rate(1e-3),
        ),
        (
            "BT, spectral start",
            base().projector(projector.clone()).init("spectral".parse().unwrap()),
        ),
        ("BT, no projector", base().projector(None)),
        ("BT, gaussian pairs", base().projector(projector.clone()).gaussian(true)),
        (
            "BT, flinear",
            base().projector(projector.clone()).encoder("flinear-1-64".parse().unwrap()),
        ),
        (
            "BT, mlp with LN",
            base()
                .projector(projector.clone())
                .encoder("mlp-1-64".parse().unwrap())
                .norm_layer(NormLayer::Layer)
                .learning_rate(1.0),
        ),
        ("KL, gaussian pairs", base().loss(Loss::KL).gaussian(true)),
        ("MSE", base().loss(Loss::MSE).projector(projector.clone())),
        ("MSE, gaussian pairs", base().loss(Loss::MSE).projector(projector).gaussian(true)),
        ("MSE, linear", base().loss(Loss::MSE).projector(Some("linear".parse().unwrap()))),
    ] {
        let (first, last) = losses_of(&x, params.batch_size(256));
        assert!(last < first, "{name}: {first} to {last}");
    }
}

#[test]
fn pairs_of_an_oracle_are_learned_from() {
    // Odd rows have no partner; the others have two rows each that are no near ones.
    let list = |i: i64| if i % 2 == 1 { vec![] } else { vec![(i + 50) % 4000, (i + 52) % 4000] };
    let lists: Vec<_> = (0..4000).map(list).collect();
    let graph = KnnGraph::from_lists(&lists).unwrap();
    let params = Params::builder().n_components(8).epochs(1).projector(None).loss(Loss::BT);
    let trainer = Trainer::new(params.validation_fraction(0.0).build().unwrap());
    let ctx = Context::with_threads(2).unwrap();
    let fit = trainer.fit_data(&ctx, FitData::new(&real()).graph(graph)).unwrap();
    assert_eq!((fit.report.training.n_anchors, fit.report.training.steps), (2000, 3));
}

#[test]
fn a_linear_reconstruction_ends_near_what_principal_components_lose() {
    let (x, ctx) = (real(), Context::with_threads(2).unwrap());
    let std = Pca::fit(&ctx, &x).unwrap().unwrap().std().to_vec();
    let square = |std: &[f64]| std.iter().map(|s| s * s).sum::<f64>();
    let lost = 1.0 - square(&std[..16]) / square(&std);
    let params = Params::builder().loss(Loss::MSE).n_components(16).projector(Some(linear()));
    let params = params.epochs(15).validation_fraction(0.0).learning_rate(0.003);
    let fit = fit_with(&ctx, &x, params);
    let found = fit.report.training.final_loss;
    // Neighbours of many are in batches more often: the rows of batches lose a little less.
    assert!((found - lost).abs() < 0.03, "{found} against {lost}");
}

fn linear() -> twinlearn::NetworkSpec {
    "linear".parse().unwrap()
}

#[test]
fn a_pca_start_carries_over_to_hidden_layers() {
    let x = real();
    let start = |encoder: &str| {
        let params = kl().encoder(encoder.parse().unwrap()).epochs(20);
        fit(&x, params.metric(Metric::L2).init(Init::Pca)).report.validation.unwrap()
    };
    let plain = start("linear");
    for encoder in ["flinear-1-64", "mlp-1-256"] {
        let v = start(encoder);
        let (found, wanted) = (v.start_recall.unwrap(), plain.start_recall.unwrap());
        assert!((found - wanted).abs() < 0.002, "{encoder}: {found} against {wanted}");
        assert!(v.recall > found + 0.01, "{encoder} learns on from there: {v:?}");
    }
}

#[test]
fn encoders_that_cannot_begin_linear_give_way_to_one_that_keeps_more() {
    let x = real();
    let params = || Params::builder().n_components(32).epochs(4);
    let plain = fit(&x, params()).model;
    for (encoder, norm) in [("mlp-1-16", NormLayer::Batch), ("mlp-1-256", NormLayer::Layer)] {
        let hidden = params().encoder(encoder.parse().unwrap()).norm_layer(norm);
        let model = fit(&x, hidden).model;
        assert_eq!(model.params().encoder, linear(), "{encoder}");
        assert_eq!(model.arrays()[0].2, plain.arrays()[0].2, "{encoder}");
    }
}

#[test]
fn the_temperature_is_in_the_scale_of_the_rows() {
    let x = real();
    let params = || Params::builder().n_components(16).epochs(4);
    let chosen = fit(&x, params()).model;
    let tau = chosen.params().tau.unwrap();
    assert!((0.01..0.2).contains(&tau), "{tau}");
    // Loss auto is the same; so is the temperature that was chosen, given.
    let auto = fit(&x, params().loss(Loss::Auto)).model;
    assert!(auto.to_bytes().unwrap() == chosen.to_bytes().unwrap());
    let given = fit(&x, params().tau(tau)).model;
    assert_eq!(given.arrays()[0].2, chosen.arrays()[0].2);
    // It is in the scale of the rows' own similarities, and better than one that is far off.
    let recall = |params: ParamsBuilder| fit(&x, params).report.validation.unwrap().recall;
    assert!(recall(params()) > recall(params().tau(2.0)) + 0.01);
}

#[test]
fn lower_temperatures_are_tried_where_the_run_is_long_enough() {
    // Twenty clusters in 24 dimensions.
    let wave = |i: usize| ((i * i % 7919) as f32 * 0.61).sin();
    let value = |i: usize| wave(i / 24 % 20 * 24 + i % 24) + 0.3 * wave(i + 5000);
    let x = Matrix::new(1200, 24, (0..1200 * 24).map(value).collect()).unwrap();
    let tau = |params: ParamsBuilder| {
        let fit = fit(&x, params.n_components(8));
        fit.model.params().tau.unwrap()
    };
    // A run of some steps takes the highest.
    let highest = tau(Params::builder().epochs(1));
    let chosen = tau(Params::builder());
    let share = chosen / highest;
    let lower = [0.7, 0.5, 0.35, 0.25];
    assert!(lower.iter().any(|t| (share - t).abs() < 1e-6), "{share} of {highest}");
}

#[test]
fn nobody_gets_less_than_the_start() {
    // Steps far too long: every epoch is worse than the start.
    let params = Params::builder()
        .n_components(16)
        .projector(Some("mlp-1-64".parse().unwrap()))
        .optimizer(Optimizer::AdamW)
        .learning_rate(1.0)
        .batch_size(256)
        .epochs(50);
    let report = fit(&real(), params.clone()).report;
    let v = report.validation.unwrap();
    assert_eq!(Some(v.recall), v.start_recall);
    assert_eq!(report.training.best_step, Some(0));
    // Training gives up, but not before its rate is low.
    assert!((20 * 14..50 * 14).contains(&report.training.steps), "{}", report.training.steps);
    let gain = v.gain.unwrap();
    assert_eq!((gain.value, gain.low, gain.high), (0.0, 0.0, 0.0), "the start is the closed form");
    // The reference recipe has no such choice.
    let params = params.recipe("reference".parse().unwrap()).epochs(2).warmup_epochs(1);
    let report = fit(&real(), params.batch_size(256)).report;
    assert_eq!(report.training.best_step, Some(report.training.steps));
    let v = report.validation.unwrap();
    assert_ne!(v.start_recall, Some(v.recall));
}

#[test]
fn hidden_layers_begin_with_the_trained_linear_encoder() {
    for (metric, epochs) in [(Metric::Cosine, 30), (Metric::L2, 1)] {
        let params = || Params::builder().n_components(8).metric(metric).epochs(epochs);
        let linear = fit(&real(), params()).report.validation.unwrap();
        let hidden = params().encoder("mlp-1-64".parse().unwrap());
        let report = fit(&real(), hidden).report;
        let v = report.validation.unwrap();
        let start = v.start_recall.unwrap();
        assert!((start - linear.recall).abs() < 0.01, "{metric}: {start} {}", linear.recall);
        assert!(v.recall > start - 0.01, "{metric}: {v:?}");
        if epochs > 1 {
            assert!(v.recall > start + 0.02, "{metric}: {v:?}");
        }
    }
}

#[test]
fn spectral_needs_no_training() {
    let x = real();
    let run = |threads| {
        let ctx = Context::with_threads(threads).unwrap();
        fit_with(&ctx, &x, Params::builder().solver(Solver::Spectral))
    };
    let one = run(1);
    assert!(one.model.to_bytes().unwrap() == run(3).model.to_bytes().unwrap());
    assert_eq!(one.report.training.steps, 0);
    let v = one.report.validation.unwrap();
    assert!(v.recall > 0.9 * v.pca_recall.unwrap(), "{v:?}");
}

#[test]
fn whitened_output_has_equal_spreads() {
    let (x, ctx) = (real(), Context::with_threads(2).unwrap());
    let spread = |whiten: f64| {
        // Without training: what is kept of one depends on what it is whitened to.
        let params = Params::builder().solver(Solver::Pca).pca_power(0.0).whiten(whiten);
        let params = params.validation_fraction(0.0);
        let z = fit_with(&ctx, &x, params).model.transform(&ctx, &x, false).unwrap();
        let std = Pca::fit(&ctx, &z).unwrap().unwrap().std().to_vec();
        std[0] / std[31]
    };
    let plain = spread(0.0);
    assert!(plain > 1.5, "{plain}");
    assert!((spread(0.5) - plain.sqrt()).abs() < 0.01 * plain, "half the spread in logarithms");
    assert!((spread(1.0) - 1.0).abs() < 0.01);
}

#[test]
fn few_rows_keep_the_closed_form() {
    let x = real();
    let some = |n: usize| {
        let mut rows = vec![0.0; n * 384];
        x.read_rows(0, &mut rows).unwrap();
        Matrix::new(n, 384, rows).unwrap()
    };
    // None is held out, and rows that are trained on cannot tell what training does to others.
    let few = some(99);
    let (ours, pca) =
        (fit(&few, Params::builder()), fit(&few, Params::builder().solver(Solver::Pca)));
    assert_eq!((ours.report.training.steps, ours.held_out.len()), (0, 0));
    let z =
        |fit: &Fit| fit.model.transform(&Context::with_threads(2).unwrap(), &few, false).unwrap();
    assert!(z(&ours) == z(&pca));
    // Unless that is asked for.
    let asked = fit(&few, Params::builder().validation_fraction(0.0).epochs(2));
    assert!(asked.report.training.steps > 0);
    assert!(fit(&some(100), Params::builder().epochs(2)).report.training.steps > 0);
}

/// With lists of all other rows their means share nothing with any row. Of fewer neighbours more is
/// shared, and a warning counts the columns that are not.
#[test]
fn a_spectral_start_of_few_rows_tells_its_dead_columns() {
    for n in [30, 40, 66, 200] {
        let wave = |i: usize| ((i * 7919 % 9973) as f32 * 0.37).sin();
        let value = |i: usize| {
            let (row, j) = (i / 20, i % 20);
            let along = |c: usize| wave(row * 8 + c) * wave(5000 + c * 20 + j);
            0.05 * wave(i + 77) + (0..8).map(along).sum::<f32>()
        };
        let x = Matrix::new(n, 20, (0..n * 20).map(value).collect()).unwrap();
        for metric in [Metric::Cosine, Metric::L2, Metric::Ip] {
            let params = Params::builder().n_components(6).metric(metric).init(Init::Spectral);
            let warnings = Arc::new(Warnings::default());
            let ctx = Context::with_threads(2).unwrap().observer(warnings.clone());
            let fit = fit_with(&ctx, &x, params);
            let z = fit.model.transform(&ctx, &x, false).unwrap();
            let std = Pca::fit(&ctx, &z).unwrap().unwrap().std().to_vec();
            let live = std.iter().filter(|&&s| s > 1e-4 * std[0]).count();
            let reported = warnings.all().join("\n");
            let said = format!("init spectral: neighbours share {live} of 6 axes");
            assert!(
                live == 6 || reported.contains(&said),
                "{n} rows by {metric}: {live}, {reported}"
            );
        }
    }
}

#[test]
fn patience_does_not_end_a_warm_up() {
    // Rows about centres, of columns that fall off, from a start that training can only harm at first.
    let (n, dim) = (600, 24);
    let wave = |i: usize| ((i * 7919 % 9973) as f32 * 0.37).sin();
    let value = |i: usize| {
        let (row, j) = (i / dim, i % dim);
        (wave(row % 20 * dim + j) + 0.6 * wave(i + 31)) / (1.0 + j as f32).powf(0.7)
    };
    let x = Matrix::new(n, dim, (0..n * dim).map(value).collect()).unwrap();
    let params = Params::builder()
        .n_components(6)
        .loss(Loss::BT)
        .pca_power(0.75)
        .batch_size(128)
        .epochs(30)
        .warmup_epochs(10);
    let fit =
        Trainer::new(params.build().unwrap()).fit(&Context::with_threads(2).unwrap(), &x).unwrap();
    // 540 rows are trained on: four batches an epoch.
    assert!(fit.report.training.steps >= 4 * 10, "{} steps", fit.report.training.steps);
}

#[test]
fn training_takes_pairs_from_an_oracle() {
    let ctx = Context::with_threads(2).unwrap();
    let x = Matrix::new(40, 6, (0..240).map(|i| ((i * i) as f32 * 0.61).sin()).collect()).unwrap();
    let params = Params::builder()
        .n_components(2)
        .epochs(2)
        .batch_size(10)
        .validation_fraction(0.0)
        .build()
        .unwrap();
    // Ten rows have partners, more than `n_neighbors` of them and themselves among them.
    let lists: Vec<Vec<i64>> = (0..40)
        .map(|i| if i % 4 == 0 { (i..i + 9).map(|j| j % 40).collect() } else { Vec::new() })
        .collect();
    let graph = KnnGraph::from_lists(&lists).unwrap();
    let fit = Trainer::new(params.clone()).fit_data(&ctx, FitData::new(&x).graph(graph)).unwrap();
    assert_eq!(fit.report.training.n_anchors, 10);
    // A list without another row than its own teaches nothing.
    let alone: Vec<[i64; 1]> = (0..40).map(|i| [i]).collect();
    let graph = KnnGraph::from_lists(&alone).unwrap();
    let message =
        Trainer::new(params).fit_data(&ctx, FitData::new(&x).graph(graph)).unwrap_err().to_string();
    assert_eq!(
        message,
        "knn_graph: expected at least 2 rows with a neighbour other than themselves, got 0"
    );
}
