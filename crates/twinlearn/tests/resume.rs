//! Runs that are interrupted, stopped, resumed, and continued from their models.

#[path = "support/warnings.rs"]
mod warnings;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use twinlearn::{
    CancelToken, Checkpoints, Context, Error, EvaluationData, EvaluationParams, Event, FileVectors,
    Fit, Init, KnnMethod, Loss, Matrix, Model, NormLayer, Observer, Optimizer, Params,
    ParamsBuilder, Reduction, Trainer, Vectors, evaluate,
};
use warnings::Warnings;

/// 1000 sentence embeddings of dimension 384.
fn rows() -> Matrix {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let x = FileVectors::open(root.join("../../data/train_x.npy")).unwrap();
    let mut rows = vec![0.0; 1000 * 384];
    x.read_rows(0, &mut rows).unwrap();
    Matrix::new(1000, 384, rows).unwrap()
}

/// Cancels at a step.
struct Breaker {
    token: CancelToken,
    at: usize,
    steps: AtomicUsize,
}

impl Observer for Breaker {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::Step(_) = event
            && self.steps.fetch_add(1, Ordering::Relaxed) + 1 == self.at
        {
            self.token.cancel();
        }
    }
}

fn trainer(params: &ParamsBuilder, folder: &Path, resume: bool) -> Trainer {
    let checkpoints = Checkpoints::new(folder).resume(resume);
    Trainer::new(params.clone().build().unwrap()).checkpoints(checkpoints)
}

/// A run that is interrupted at this step, then resumed.
fn broken(params: &ParamsBuilder, x: &Matrix, at: usize, folder: &Path) -> Fit {
    let token = CancelToken::default();
    let breaker = Breaker { token: token.clone(), at, steps: AtomicUsize::new(0) };
    let ctx = Context::with_threads(2).unwrap().observer(Arc::new(breaker)).cancel_token(token);
    let result = trainer(params, folder, false).fit(&ctx, x);
    assert!(matches!(result, Err(Error::Cancelled)));
    trainer(params, folder, true).fit(&Context::with_threads(1).unwrap(), x).unwrap()
}

#[test]
fn a_run_taken_up_ends_with_the_same_bits() {
    let x = rows();
    let projector: Option<twinlearn::NetworkSpec> = Some("mlp-1-64".parse().unwrap());
    let base = || Params::builder().n_components(8).batch_size(100).epochs(4).seed(7);
    let bt = || base().projector(projector.clone());
    let cases = [
        ("BT, LARS, retained", bt().retain_projector(true).learning_rate(1.0)),
        ("BT, AdamW, mlp", bt().optimizer(Optimizer::AdamW).encoder("mlp-1-32".parse().unwrap())),
        ("BT, LN", bt().encoder("mlp-1-32".parse().unwrap()).norm_layer(NormLayer::Layer)),
        ("KL, whitened", base().loss(Loss::KL).whiten(0.5)),
        ("MSE, gaussian", bt().loss(Loss::MSE).gaussian(true)),
        ("KL, by default", Params::builder().n_components(8).epochs(4)),
        ("KL, l2, mlp", base().metric("l2".parse().unwrap()).encoder("mlp-1-32".parse().unwrap())),
        ("KL, nested", base().nested(vec![2, 4])),
        ("BT, nothing held out", bt().validation_fraction(0.0)),
    ];
    for (name, params) in cases {
        let plain = Trainer::new(params.clone().build().unwrap());
        let plain = plain.fit(&Context::with_threads(2).unwrap(), &x).unwrap();
        let wanted = plain.model.to_bytes().unwrap();
        // 9 steps an epoch (10 with nothing held out): within the first, at an end, and later.
        for at in [1, 5, 9, 10, 23, 30] {
            if at >= plain.report.training.steps {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            let fit = broken(&params, &x, at, folder.path());
            assert!(fit.model.to_bytes().unwrap() == wanted, "{name}, broken off at step {at}");
            assert_eq!(fit.report.training, plain.report.training, "{name} at {at}");
            let last = Model::load(folder.path().join("final.safetensors")).unwrap();
            assert!(last.to_bytes().unwrap() == wanted);
            // The best model gives what the final one does, if training found a better one.
            // What follows for nested sizes is done anew.
            let is_last = fit.model.params().nested.is_empty();
            if is_last && fit.report.validation.is_some() && fit.report.training.best_step > Some(0)
            {
                let best = Model::load(folder.path().join("best.safetensors")).unwrap();
                let z = |model: &Model| {
                    model.transform(&Context::with_threads(2).unwrap(), &x, false).unwrap()
                };
                assert!(z(&best) == z(&last), "{name}, best");
            }
            // Once more, when there is nothing left to do.
            let again = trainer(&params, folder.path(), true);
            let again = again.fit(&Context::with_threads(2).unwrap(), &x).unwrap();
            assert!(again.model.to_bytes().unwrap() == wanted, "{name}, done");
        }
    }
}

#[test]
fn only_the_same_run_is_taken_up() {
    let (x, ctx) = (rows(), Context::with_threads(2).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let params = Params::builder().n_components(8).loss(Loss::KL).epochs(2);
    trainer(&params, path, false).fit(&ctx, &x).unwrap();
    let refused = |params: &ParamsBuilder, x: &Matrix, resume| {
        trainer(params, path, resume).fit(&ctx, x).unwrap_err().to_string()
    };
    let error = refused(&params, &x, false);
    assert!(
        error.ends_with(
            "expected a folder without a run, or resume to go on with it, got one with a run"
        ),
        "{error}"
    );
    let error = refused(&params.clone().seed(1), &x, true);
    assert!(
        error.ends_with("expected the options that the run was begun with, seed 0, got seed 1"),
        "{error}"
    );
    let mut other = x.clone();
    other.as_mut_slice()[70_000] += 0.25;
    let error = refused(&params, &other, true);
    assert!(
        error.ends_with("a run on these vectors, got one on vectors of other values"),
        "{error}"
    );

    // One flipped bit anywhere among the numbers is noticed.
    let latest = path.join("latest.safetensors");
    let good = std::fs::read(&latest).unwrap();
    let mut bad = good.clone();
    let at = bad.len() - 1001;
    bad[at] ^= 4;
    std::fs::write(&latest, &bad).unwrap();
    let error = refused(&params, &x, true);
    assert!(error.contains("contents with the checksum") && error.ends_with("damaged"), "{error}");
    std::fs::write(&latest, &good[..good.len() / 2]).unwrap();
    let error = refused(&params, &x, true);
    assert!(error.contains("expected a checkpoint of twinlearn"), "{error}");
    // A checkpoint is not taken for a model.
    std::fs::write(&latest, &good).unwrap();
    let error = Model::load(&latest).unwrap_err().to_string();
    assert!(error.contains("expected a twinlearn model"), "{error}");
    assert!(trainer(&params, path, true).fit(&ctx, &x).is_ok());
}

#[test]
fn a_callback_ends_training() {
    let (x, ctx) = (rows(), Context::with_threads(2).unwrap());
    let params = || {
        let params = Params::builder().n_components(8).loss(Loss::KL).init(Init::Random);
        params.batch_size(100).epochs(6)
    };
    let trainer = || Trainer::new(params().build().unwrap());
    let go_on = |go_on| if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    let by_step = trainer().on_step(move |r| go_on(r.step < 13)).fit(&ctx, &x).unwrap();
    assert_eq!(by_step.report.training.steps, 13);
    let by_epoch = trainer().on_epoch(move |r| go_on(r.epoch < 2)).fit(&ctx, &x).unwrap();
    assert_eq!(by_epoch.report.training.steps, 18);
    // What was found until then is not lost.
    let v = by_epoch.report.validation.unwrap();
    assert!(v.recall > v.start_recall.unwrap(), "{v:?}");
    // A stop does not end the run for good: what is kept goes on from the last whole epoch.
    let folder = tempfile::tempdir().unwrap();
    let kept = Checkpoints::new(folder.path());
    let stopped = trainer().checkpoints(kept.clone()).on_step(move |r| go_on(r.step < 13));
    stopped.fit(&ctx, &x).unwrap();
    let resumed = trainer().checkpoints(kept.resume(true)).fit(&ctx, &x).unwrap();
    let whole = trainer().fit(&ctx, &x).unwrap();
    assert!(resumed.model.to_bytes().unwrap() == whole.model.to_bytes().unwrap());
}

#[test]
fn a_model_is_gone_on_from() {
    let (x, ctx) = (rows(), Context::with_threads(2).unwrap());
    let projector = Some("mlp-1-64".parse().unwrap());
    let params = Params::builder().n_components(8).projector(projector).batch_size(100).epochs(2);
    let params = params.validation_fraction(0.0);
    let first = Trainer::new(params.clone().retain_projector(true).build().unwrap());
    let first = first.fit(&ctx, &x).unwrap();
    let tuned = || first.model.fine_tune().batch_size(100).epochs(2).validation_fraction(0.0);
    let fit = |model: &Model, params: ParamsBuilder| {
        Trainer::new(params.build().unwrap()).warm_start(model.clone()).fit(&ctx, &x)
    };
    // Where the first run ended, the second begins.
    let second = fit(&first.model, tuned().learning_rate(1e-9)).unwrap();
    let z = |model: &Model| model.transform(&ctx, &x, false).unwrap();
    let (a, b) = (z(&first.model), z(&second.model));
    let far = a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 1e-3, "{far}");

    let error = |model: &Model, params| fit(model, params).unwrap_err().to_string();
    // A projector that was not retained begins anew.
    let bare = Trainer::new(params.build().unwrap()).fit(&ctx, &x).unwrap().model;
    assert!(fit(&bare, tuned().retain_projector(true)).unwrap().model.has_projector());
    assert!(fit(&bare, tuned().projector(None)).is_ok());
    assert_eq!(
        error(&first.model, tuned().n_components(9)),
        "model: expected one with the encoder linear, 384 → 9 dimensions, got linear, 384 → 8 dimensions"
    );
    let error = Trainer::new(tuned().build().unwrap()).fit(&ctx, &x).unwrap_err().to_string();
    assert_eq!(error, "init: expected a model to go on from, with init model, got none");
}

#[test]
fn what_a_model_was_made_with_is_gone_on_with() {
    let (x, ctx) = (rows(), Context::with_threads(2).unwrap());
    let params = Params::builder().n_components(8).tau(0.03).centre_target(true).whiten(0.25);
    let params = params.metric("ip".parse().unwrap()).epochs(1).seed(5).validation_fraction(0.2);
    let params = params.n_neighbors(20).batch_size(64).knn_method("exact".parse().unwrap());
    let first = Trainer::new(params.build().unwrap()).fit(&ctx, &x).unwrap();
    let model = first.model;
    let next = model.fine_tune().build().unwrap();
    assert_eq!((next.n_neighbors, next.batch_size, next.knn_method), (20, 64, KnnMethod::Exact));
    assert_eq!((next.seed, next.validation_fraction), (5, Some(0.2)));
    assert_eq!((next.epochs, next.warmup_epochs, next.learning_rate), (None, None, None));
    assert_eq!((next.tau, next.centre_target, next.whiten), (Some(0.03), true, 0.25));
    assert_eq!((next.metric, next.init), (model.params().metric, Init::Model));
    // They mean nothing to another loss.
    let other = model.fine_tune().loss(Loss::BT).build().unwrap();
    assert_eq!((other.tau, other.centre_target, other.whiten), (None, false, 0.25));
    assert_eq!(other.projector.as_ref().unwrap().to_string(), "mlp-1-256");
    assert_eq!((other.n_neighbors, other.batch_size, other.seed), (5, 512, 5));

    // The same rows are held out, unless they are asked for otherwise: then it is said.
    let go_on = |params: ParamsBuilder| {
        let warnings = Arc::new(Warnings::default());
        let ctx = Context::with_threads(2).unwrap().observer(warnings.clone());
        let trainer = Trainer::new(params.epochs(1).build().unwrap()).warm_start(model.clone());
        let held_out = trainer.fit(&ctx, &x).unwrap().held_out;
        (held_out, warnings.all())
    };
    assert_eq!(go_on(model.fine_tune()), (first.held_out.clone(), Vec::new()));
    let (held_out, warnings) = go_on(model.fine_tune().seed(6));
    assert_ne!(held_out, first.held_out);
    assert_eq!(warnings.len(), 1);
    let said =
        "seed, validation_fraction: the model to go on from was made on these rows with seed 5 and";
    assert!(warnings[0].starts_with(said), "{}", warnings[0]);
}

/// Rows in another order, or with more beside them, have been seen by a model of the same.
#[test]
fn a_model_of_other_rows_may_have_seen_those_held_out() {
    let x = rows();
    let reversed = |n: usize| {
        let values = (0..n).rev().flat_map(|i| x.row(i).to_vec()).collect();
        Matrix::new(n, x.cols(), values).unwrap()
    };
    let n = x.rows();
    let fit = |params: ParamsBuilder, from: Option<&Model>, x: &Matrix| {
        let warnings = Arc::new(Warnings::default());
        let ctx = Context::with_threads(2).unwrap().observer(warnings.clone());
        let mut trainer = Trainer::new(params.epochs(1).build().unwrap());
        if let Some(model) = from {
            trainer = trainer.warm_start(model.clone());
        }
        let model = trainer.fit(&ctx, x).unwrap().model;
        let warnings = warnings.all();
        (model, warnings)
    };
    let has_verdict = |model: &Model| {
        let record = model.training();
        let verdict = record.validation.as_ref().unwrap().gain.is_some();
        assert_eq!(record.held_out.unwrap().seen, !verdict);
        verdict
    };
    let (first, warnings) = fit(Params::builder().n_components(8), None, &reversed(n / 2));
    assert_eq!((has_verdict(&first), warnings), (true, Vec::new()));
    // The same again has seen nothing that is held out.
    let (again, warnings) = fit(first.fine_tune(), Some(&first), &reversed(n / 2));
    assert_eq!((has_verdict(&again), warnings), (true, Vec::new()));
    for other in [reversed(n), x] {
        let (model, warnings) = fit(first.fine_tune(), Some(&first), &other);
        let reported = "the model to go on from was made on other rows, and may have seen some that are held \
                    out now: recall may be overstated, and there is no verdict (eval with new queries gives one)";
        assert_eq!(warnings, [reported]);
        assert!(!has_verdict(&model));
        // Nor is it forgotten.
        let (model, warnings) = fit(model.fine_tune(), Some(&model), &other);
        assert!(warnings[0].starts_with("the model to go on from was itself"), "{warnings:?}");
        assert!(!has_verdict(&model));
        let data = EvaluationData::new(&other);
        let reduction = [("model", Reduction::Model(&model))];
        let ctx = Context::with_threads(2).unwrap();
        let found = evaluate(&ctx, &data, &reduction, &EvaluationParams::default()).unwrap();
        assert!(!found.unseen && found.sentence().is_none());
    }
}

/// A list that is as long as there are other rows says nothing of a larger set.
#[test]
fn lists_of_few_rows_are_not_gone_on_with() {
    let (x, ctx) = (rows(), Context::with_threads(2).unwrap());
    let few = Matrix::new(30, x.cols(), x.as_slice()[..30 * x.cols()].to_vec()).unwrap();
    let params = Params::builder().n_components(4).build().unwrap();
    let model = Trainer::new(params).fit(&ctx, &few).unwrap().model;
    assert_eq!(model.params().n_neighbors, 29);
    assert_eq!(model.fine_tune().build().unwrap().n_neighbors, 64);
}

/// Rows that are watched beside X may have been rows of an earlier model, unless it watched them too.
#[test]
fn validation_rows_that_an_earlier_model_may_have_seen_give_no_verdict() {
    let x = rows();
    let part = |from: usize, to: usize| {
        let values = x.as_slice()[from * x.cols()..to * x.cols()].to_vec();
        Matrix::new(to - from, x.cols(), values).unwrap()
    };
    let fit =
        |params: ParamsBuilder, from: Option<&Model>, x: &Matrix, watched: Option<&Matrix>| {
            let warnings = Arc::new(Warnings::default());
            let ctx = Context::with_threads(2).unwrap().observer(warnings.clone());
            let mut trainer = Trainer::new(params.epochs(1).build().unwrap());
            if let Some(model) = from {
                trainer = trainer.warm_start(model.clone());
            }
            if let Some(rows) = watched {
                trainer = trainer.validation_rows(rows.clone());
            }
            let model = trainer.fit(&ctx, x).unwrap().model;
            let verdict = model.training().validation.as_ref().is_some_and(|v| v.gain.is_some());
            (model, verdict, warnings.all())
        };
    let (rows, watched) = (part(0, 800), part(800, 1000));
    let params = || Params::builder().n_components(8);
    let (all, ..) = fit(params().validation_fraction(0.0), None, &x, None);
    let (_, verdict, warnings) = fit(all.fine_tune(), Some(&all), &rows, Some(&watched));
    assert!(!verdict && warnings.len() == 1, "{warnings:?}");
    assert!(warnings[0].starts_with("validation_rows: the model to go on from may have seen some"));
    let (first, verdict, _) = fit(params(), None, &rows, Some(&watched));
    assert!(verdict);
    let (_, verdict, warnings) = fit(first.fine_tune(), Some(&first), &rows, Some(&watched));
    assert_eq!((verdict, warnings), (true, Vec::new()));
}
