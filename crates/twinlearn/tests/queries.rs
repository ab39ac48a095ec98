//! Fits for the queries one has.

mod support;
#[path = "support/warnings.rs"]
mod warnings;

use std::ops::ControlFlow;
use std::sync::Arc;

use support::uniform;
use twinlearn::{
    Checkpoints, Context, EvaluationData, EvaluationParams, FitData, Loss, Matrix, Metric, Model,
    Params, ParamsBuilder, Reduction, Trainer, Vectors, evaluate,
};
use warnings::Warnings;

const DIM: usize = 24;

/// Numbers that look random, of mean 0 and variance 1.
fn noise(seed: u64, n: usize) -> impl Iterator<Item = f32> {
    let mut next = uniform(seed);
    (0..n).map(move |_| (0..12).map(|_| next()).sum())
}

/// Rows vary along the first eight columns most, queries along the next eight: what tells rows apart
/// for each other is not what tells them apart for queries.
fn rows(seed: u64, n: usize, factors: [f32; 3]) -> Matrix {
    let values = noise(seed, n * DIM).enumerate().map(|(i, v)| v * factors[i % DIM / 8]);
    Matrix::new(n, DIM, values.collect()).unwrap()
}

fn base() -> Matrix {
    rows(1, 1500, [1.0, 0.8, 0.1])
}

fn queries(seed: u64, n: usize) -> Matrix {
    rows(seed, n, [0.2, 1.0, 0.1])
}

fn params() -> ParamsBuilder {
    Params::builder().n_components(8).epochs(20)
}

fn ctx() -> Context {
    Context::with_threads(2).unwrap()
}

#[test]
fn unseen_queries_find_more_of_their_rows() {
    let (x, asked) = (base(), queries(2, 600));
    // Distances are those of the rows' own lengths above all, for queries too: there nothing is lost.
    for (metric, more) in [(Metric::Cosine, 0.1), (Metric::Ip, 0.1), (Metric::L2, -0.1)] {
        let trainer = Trainer::new(params().metric(metric).build().unwrap());
        let fit = trainer.fit_data(&ctx(), FitData::new(&x).queries(&asked)).unwrap();
        let record = fit.model.training().queries.clone().unwrap();
        assert_eq!((record.n_queries, record.n_trained, record.held_out.count), (600, 540, 60));
        let reported = record.validation.unwrap();
        assert_eq!((reported.n_queries, reported.k), (30, 10));
        let alone = reported.rows_alone.unwrap();
        assert!(alone.gain.low > more, "{metric}: {alone:?}");
        // The form that sees queries too is as good as can be on rows like these.
        assert!(reported.gain.unwrap().high >= 0.0, "{metric}: {:?}", reported.gain);

        // Recall of queries that the fit never saw, beside the same fit without queries.
        let plain = trainer.fit(&ctx(), &x).unwrap().model;
        let unseen = queries(3, 400);
        let data = EvaluationData::new(&x).queries(&unseen);
        let given =
            [("for queries", Reduction::Model(&fit.model)), ("plain", Reduction::Model(&plain))];
        let params = EvaluationParams::default().metric(metric).baselines(false);
        let found = evaluate(&ctx(), &data, &given, &params).unwrap();
        let behind = found.methods[2].recall_behind_first.unwrap();
        assert!(behind.low > more, "{metric}: {behind:?}");
        // What the report says of the fit without queries is what that fit gives.
        assert!((found.methods[2].recall.value - alone.recall).abs() < 0.1, "{metric}");
    }
}

#[test]
fn queries_are_known_again_and_judged_by_those_held_out() {
    let (x, asked) = (base(), queries(2, 400));
    let trainer = Trainer::new(params().epochs(2).build().unwrap());
    let model = trainer.fit_data(&ctx(), FitData::new(&x).queries(&asked)).unwrap().model;
    let given = [("m", Reduction::Model(&model))];
    let params = EvaluationParams::default();
    let judged = |queries: &Matrix| {
        let data = EvaluationData::new(&x).queries(queries);
        evaluate(&ctx(), &data, &given, &params).unwrap()
    };
    let found = judged(&asked);
    assert_eq!((found.n_queries, found.unseen), (20, true));
    assert!(
        found.notes[0].contains("20 queries that were held out of the fit"),
        "{:?}",
        found.notes
    );
    let reported = model.training().queries.as_ref().unwrap().validation.as_ref().unwrap();
    // The fit looked among training rows alone.
    assert!((found.methods[1].recall.value - reported.recall).abs() < 0.1);
    let found = judged(&queries(4, 300));
    assert_eq!((found.n_queries, found.unseen), (300, true));

    // With none held out there is no verdict.
    let few = queries(5, 19);
    let model = trainer.fit_data(&ctx(), FitData::new(&x).queries(&few)).unwrap().model;
    let record = model.training().queries.clone().unwrap();
    assert_eq!((record.n_trained, record.validation), (19, None));
    let data = EvaluationData::new(&x).queries(&few);
    let found = evaluate(&ctx(), &data, &[("m", Reduction::Model(&model))], &params).unwrap();
    assert!(!found.unseen && found.sentence().is_none());
    assert!(found.notes.iter().any(|note| note.contains("trained on")), "{:?}", found.notes);
}

#[test]
fn runs_for_queries_are_the_same_at_any_thread_count_and_taken_up() {
    let (x, asked) = (base(), queries(2, 300));
    let data = || FitData::new(&x).queries(&asked);
    let params = params().epochs(4).query_share(0.3).build().unwrap();
    let trainer = || Trainer::new(params.clone());
    let wanted = trainer().fit_data(&ctx(), data()).unwrap();
    let bytes = wanted.model.to_bytes().unwrap();
    let single = Context::with_threads(1).unwrap();
    assert!(trainer().fit_data(&single, data()).unwrap().model.to_bytes().unwrap() == bytes);

    let folder = tempfile::tempdir().unwrap();
    let kept = Checkpoints::new(folder.path());
    let stopped = trainer().checkpoints(kept.clone()).on_step(|report| match report.step {
        15 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    stopped.fit_data(&ctx(), data()).unwrap();
    let again = || trainer().checkpoints(kept.clone().resume(true));
    let other = queries(9, 300);
    for (data, want) in [
        (FitData::new(&x), "expected a run for no queries, got one for others"),
        (FitData::new(&x).queries(&other), "expected a run for these queries, got one for others"),
    ] {
        // Without queries a share of them is refused first.
        let plain = Trainer::new(params.clone());
        let plain = if want.contains("no queries") {
            let params = self::params().epochs(4).build().unwrap();
            Trainer::new(params)
        } else {
            plain
        };
        let plain = plain.checkpoints(kept.clone().resume(true));
        let error = plain.fit_data(&ctx(), data).unwrap_err().to_string();
        assert!(error.ends_with(want), "{error}");
    }
    let resumed = again().fit_data(&ctx(), data()).unwrap();
    assert!(resumed.model.to_bytes().unwrap() == bytes);
}

#[test]
fn queries_that_are_no_use_are_refused_by_name() {
    let x = base();
    let error = |params: ParamsBuilder, queries: &dyn Vectors| {
        let trainer = Trainer::new(params.build().unwrap());
        trainer.fit_data(&ctx(), FitData::new(&x).queries(queries)).unwrap_err().to_string()
    };
    let wide = Matrix::new(2, DIM + 1, vec![1.0; 2 * (DIM + 1)]).unwrap();
    assert_eq!(
        error(params(), &wide),
        "queries: expected at least 1 row of dimension 24, as X, got 2 of dimension 25"
    );
    let none = Matrix::new(0, DIM, vec![]).unwrap();
    assert_eq!(
        error(params(), &none),
        "queries: expected at least 1 row of dimension 24, as X, got 0 of dimension 24"
    );
    let mut bad = queries(2, 30);
    bad.as_mut_slice()[3 * DIM + 5] = f32::NAN;
    assert_eq!(
        error(params(), &bad),
        "queries: expected finite numbers, got NaN in row 3, column 5"
    );
    bad.as_mut_slice()[3 * DIM..4 * DIM].fill(0.0);
    assert_eq!(
        error(params(), &bad),
        "queries: expected rows of non-zero length under metric cosine, got all zeros in row 3"
    );
    assert!(
        Trainer::new(params().metric(Metric::L2).epochs(1).build().unwrap())
            .fit_data(&ctx(), FitData::new(&x).queries(&bad))
            .is_ok()
    );
    let good = queries(2, 30);
    for params in [params().loss(Loss::BT), params().gaussian(true)] {
        let error = error(params, &good);
        let want = "queries: expected none but with loss KL, solver sgd and neighbours as pairs";
        assert!(error.starts_with(want), "{error}");
    }
    let trainer = Trainer::new(params().query_share(0.5).build().unwrap());
    assert_eq!(
        trainer.fit(&ctx(), &x).unwrap_err().to_string(),
        "query_share: expected none without queries, got 0.5"
    );
    for share in [0.0, 1.0, f64::NAN] {
        let error = params().query_share(share).build().unwrap_err().to_string();
        assert!(
            error.starts_with("query_share: expected a share between 0 and 1, got "),
            "{error}"
        );
    }
}

#[test]
fn one_query_and_extreme_shares_train() {
    let x = base();
    for (n, share) in [(1, 0.5), (2, 0.999), (40, 0.001), (25, 0.5)] {
        let asked = queries(2, n);
        let params = params().epochs(1).query_share(share).build().unwrap();
        let data = FitData::new(&x).queries(&asked);
        let fit = Trainer::new(params).fit_data(&ctx(), data).unwrap();
        assert!(fit.report.training.steps > 0);
        let z = fit.model.transform(&ctx(), &x, false).unwrap();
        assert!(z.as_slice().iter().all(|v| v.is_finite()));
    }
}

/// Queries that a model was trained on judge neither a fit that goes on from it nor what comes after.
#[test]
fn queries_that_an_earlier_model_may_have_seen_give_no_verdict() {
    let (x, asked, other) = (base(), queries(2, 300), queries(3, 300));
    let fit_on =
        |x: &Matrix, params: ParamsBuilder, from: Option<&Model>, asked: Option<&Matrix>| {
            let warnings = Arc::new(Warnings::default());
            let mut trainer = Trainer::new(params.epochs(1).build().unwrap());
            if let Some(model) = from {
                trainer = trainer.warm_start(model.clone());
            }
            let mut data = FitData::new(x);
            if let Some(asked) = asked {
                data = data.queries(asked);
            }
            let ctx = ctx().observer(warnings.clone());
            let model = trainer.fit_data(&ctx, data).unwrap().model;
            let warnings = warnings.all();
            (model, warnings)
        };
    let fit =
        |params, from: Option<&Model>, asked: Option<&Matrix>| fit_on(&x, params, from, asked);
    let has_verdict = |model: &Model| {
        let record = model.training().queries.clone().unwrap();
        let verdict = record.validation.unwrap().gain.is_some();
        assert_eq!(record.held_out.seen, !verdict);
        verdict
    };
    let told_of = |model: &Model, asked: &Matrix| {
        let data = EvaluationData::new(&x).queries(asked);
        let reduction = [("model", Reduction::Model(model))];
        evaluate(&ctx(), &data, &reduction, &EvaluationParams::default()).unwrap().unseen
    };
    let (first, _) = fit(params(), None, Some(&asked));
    assert!(has_verdict(&first) && told_of(&first, &asked) && told_of(&first, &other));

    // The same queries: the same are held out.
    let (again, warnings) = fit(first.fine_tune(), Some(&first), Some(&asked));
    assert_eq!((has_verdict(&again), warnings), (true, Vec::new()));
    assert!(told_of(&again, &asked) && told_of(&again, &other));

    // Others may be some of the same.
    let (next, warnings) = fit(first.fine_tune(), Some(&first), Some(&other));
    assert_eq!((has_verdict(&next), warnings.len()), (false, 1));
    assert!(warnings[0].starts_with("queries: the model to go on from may have seen some"));
    assert!(!told_of(&next, &other) && !told_of(&next, &asked));
    assert!(told_of(&next, &queries(4, 300)), "new queries give a verdict");

    // So few that none is held out do not make it forgotten.
    let (few, _) = fit(first.fine_tune(), Some(&first), Some(&queries(5, 10)));
    assert_eq!(few.training().queries.as_ref().unwrap().held_out.count, 0);
    assert!(!told_of(&few, &asked));

    // A fit without queries does not make it forgotten.
    let (alone, warnings) = fit(first.fine_tune(), Some(&first), None);
    assert_eq!(warnings, Vec::<String>::new());
    assert!(!told_of(&alone, &asked));
    let (back, _) = fit(alone.fine_tune(), Some(&alone), Some(&asked));
    assert!(!has_verdict(&back) && !told_of(&back, &asked));

    // Queries may be rows of a model of other rows.
    let rows = Matrix::new(1800, DIM, [x.as_slice(), asked.as_slice()].concat()).unwrap();
    let (of_rows, _) = fit_on(&rows, params(), None, None);
    let (next, warnings) = fit(of_rows.fine_tune(), Some(&of_rows), Some(&asked));
    assert_eq!((has_verdict(&next), warnings.len()), (false, 2), "{warnings:?}");
    assert!(!told_of(&next, &asked));
    let (of_rows, _) = fit(params(), None, None);
    let (next, warnings) = fit(of_rows.fine_tune(), Some(&of_rows), Some(&asked));
    assert_eq!((has_verdict(&next), warnings), (true, Vec::new()));
}

/// The best moment of a run so far knows what it can be judged by, as the model at its end.
#[test]
fn the_best_model_of_a_run_knows_its_held_out_rows_and_queries() {
    let (x, asked, folder) = (base(), queries(2, 300), tempfile::tempdir().unwrap());
    let trainer = Trainer::new(params().epochs(2).build().unwrap());
    let trainer = trainer.checkpoints(Checkpoints::new(folder.path()));
    let last = trainer.fit_data(&ctx(), FitData::new(&x).queries(&asked)).unwrap().model;
    let best = Model::load(folder.path().join("best.safetensors")).unwrap();
    let [best, last] = [&best, &last].map(|model| {
        let record = model.training();
        (record.held_out, record.queries.as_ref().map(|q| (q.n_queries, q.n_trained, q.held_out)))
    });
    assert!(best.0.is_some() && best.1.is_some());
    assert_eq!(best, last);
}
