//! What is said of reductions, against other libraries and against what must be so.

use serde_json::Value;
use twinlearn::{
    Context, Error, EvaluationData, EvaluationParams, FileVectors, Goal, LinearMap, Loss, Matrix,
    MethodEvaluation, MethodKind, Metric, Params, Qrels, QrelsNames, Reduction, Subset, Trainer,
    Verdict, advise, evaluate, read_integers,
};

fn context() -> Context {
    Context::with_threads(2).unwrap()
}

fn data(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)
}

/// Rows, reduced rows, labels and judgements that scripts/make_metric_goldens.py made.
struct Goldens {
    all: Value,
    x: [Matrix; 2],
    z: [Matrix; 2],
    labels: [Vec<i64>; 2],
    qrels: Qrels,
}

fn goldens() -> Goldens {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("tests/goldens/metrics.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let shape: Vec<usize> = serde_json::from_value(all["shape"].clone()).unwrap();
    let [n, q, dim, d, _] = shape[..] else { panic!("{shape:?}") };
    let split = |name: &str, width: usize| {
        let values: Vec<f32> = serde_json::from_value(all[name].clone()).unwrap();
        let (base, queries) = values.split_at(n * width);
        [(n, base), (q, queries)].map(|(n, v)| Matrix::new(n, width, v.to_vec()).unwrap())
    };
    let (x, z) = (split("x", dim), split("z", d));
    let mut labels: Vec<i64> = serde_json::from_value(all["labels"].clone()).unwrap();
    let query_labels = labels.split_off(n);
    let judgements: Vec<(i64, i64, i64)> = serde_json::from_value(all["qrels"].clone()).unwrap();
    let qrels = Qrels::new(q, n, judgements).unwrap();
    Goldens { all, x, z, labels: [labels, query_labels], qrels }
}

#[test]
fn every_measure_is_that_of_the_libraries() {
    let Goldens { all, x, z, labels, qrels } = goldens();
    for metric in [Metric::L2, Metric::Cosine] {
        let given = EvaluationData::new(&x[0])
            .queries(&x[1])
            .labels(&labels[0])
            .query_labels(&labels[1])
            .qrels(&qrels);
        let reduced = Reduction::Reduced { x: &z[0], queries: Some(&z[1]) };
        let params = EvaluationParams::default().metric(metric).baselines(false);
        let found = evaluate(&context(), &given, &[("z", reduced)], &params).unwrap();
        let method = &found.methods[1];
        let want = |name: &str| all[metric.to_string()][name].as_f64().unwrap();
        for (name, got) in [
            ("recall", Some(method.recall)),
            ("accuracy", method.accuracy),
            ("ndcg_at_10", method.ndcg_at_10),
            ("average_precision", method.average_precision),
            ("recall_at_100", method.recall_at_100),
            ("trustworthiness", Some(method.trustworthiness)),
            ("continuity", Some(method.continuity)),
            ("effective_rank", method.effective_rank),
        ] {
            let (got, want) = (got.unwrap(), want(name));
            assert!((got.value - want).abs() < 1e-6, "{metric} {name}: {got:?}, not {want}");
            assert!(got.low <= got.value && got.value <= got.high, "{metric} {name}: {got:?}");
        }
    }
}

#[test]
fn a_map_a_model_and_their_rows_are_judged_alike() {
    let ctx = context();
    let (train, test) = (
        FileVectors::open(data("train_x.npy")).unwrap(),
        FileVectors::open(data("test_x.npy")).unwrap(),
    );
    let labels = ["train_y.npy", "test_y.npy"].map(|name| read_integers(data(name)).unwrap().1);
    let params = Params::builder().loss(Loss::KL).n_components(16).build().unwrap();
    let model = Trainer::new(params).fit(&ctx, &train).unwrap().model;
    let map = model.linear_map().unwrap();
    let (z, qz) = (
        model.transform(&ctx, &train, false).unwrap(),
        model.transform(&ctx, &test, false).unwrap(),
    );
    let reductions = [
        ("model", Reduction::Model(&model)),
        ("map", Reduction::Map(&map)),
        ("rows", Reduction::Reduced { x: &z, queries: Some(&qz) }),
    ];
    let given =
        EvaluationData::new(&train).queries(&test).labels(&labels[0]).query_labels(&labels[1]);
    let params = EvaluationParams::default().n_queries(300);
    let found = evaluate(&ctx, &given, &reductions, &params).unwrap();
    let named = |name: &str| found.methods.iter().find(|m| m.name == name).unwrap();
    let (model, pca) = (named("model"), named("PCA uncentred γ=0.5"));
    for other in ["map", "rows"] {
        let other = named(other);
        let again = MethodEvaluation {
            name: "model".to_owned(),
            recall_behind_first: model.recall_behind_first,
            ..other.clone()
        };
        assert_eq!(again, *model);
        assert_eq!(other.recall_behind_first.unwrap().high, 0.0);
    }
    // Full vectors lose nothing, and methods paired by the same queries are distinguished better than by
    // two intervals.
    let full = named("full vectors");
    assert_eq!((full.recall.value, full.trustworthiness.value), (1.0, 1.0));
    let behind = pca.recall_behind_first.unwrap();
    assert!((behind.value - (model.recall.value - pca.recall.value)).abs() < 1e-12);
    assert!(behind.low > 0.0, "{behind:?}");
    let [paired, ours, theirs] = [behind, model.recall, pca.recall].map(|e| e.high - e.low);
    assert!(paired < ours.hypot(theirs), "{behind:?} {:?} {:?}", model.recall, pca.recall);
    assert!(model.accuracy.unwrap().value > 0.35);
    assert_eq!(found.methods.iter().filter(|m| m.kind == MethodKind::Baseline).count(), 12);
    assert!(
        found.notes[0]
            .starts_with("Neighbours by cosine of 300 of the 1000 queries, drawn with seed 0,")
    );
}

#[test]
fn threads_and_runs_do_not_change_what_is_said() {
    let train = FileVectors::open(data("train_x.npy")).unwrap();
    let ids: Vec<u32> = (0..900).collect();
    let x = Subset::new(&train, &ids).unwrap();
    let map = LinearMap::truncation(384, 12).unwrap();
    let say = |threads, seed| {
        let ctx = Context::with_threads(threads).unwrap();
        let params = EvaluationParams::default().seed(seed);
        let reductions = [("first", Reduction::Map(&map))];
        evaluate(&ctx, &EvaluationData::new(&x), &reductions, &params).unwrap()
    };
    let one = say(1, 5);
    assert_eq!(one, say(2, 5));
    assert_eq!(one, say(4, 5));
    assert_ne!(one, say(2, 6));
    assert_eq!((one.n_queries, one.n_rows), (100, 800));
}

#[test]
fn advice_on_rows_of_known_rank() {
    // Eight of 40 dimensions carry all but a millionth.
    let value = |i: usize| {
        let wave = ((i * i % 7919) as f32 * 0.61).sin();
        if i % 40 < 8 { wave } else { wave * 1e-6 }
    };
    let x = Matrix::new(900, 40, (0..900 * 40).map(value).collect()).unwrap();
    let advice = advise(&context(), &x, Goal::Keep(0.95), &EvaluationParams::default()).unwrap();
    assert_eq!(advice.verdict, Verdict::PcaIsEnough);
    assert_eq!(advice.pca_n_components, Some(8));
    assert!(
        advice.sentence.starts_with("PCA is enough here (within a tenth"),
        "{}",
        advice.sentence
    );
    // Eight numbers of a byte, or less where codes are learned.
    assert_eq!(advice.bytes_per_vector, 160);
    assert!((4..=10).contains(&advice.reduced_bytes_per_vector), "{advice}");
    let truncation = advice.curves.iter().find(|c| c.name == "truncation").unwrap();
    assert!(truncation.points.iter().any(|p| p.n_components == 8 && p.recall.value > 0.95));
}

#[test]
fn advice_on_sentence_embeddings() {
    let train = FileVectors::open(data("train_x.npy")).unwrap();
    let ids: Vec<u32> = (0..800).collect();
    let x = Subset::new(&train, &ids).unwrap();
    let advice = advise(&context(), &x, Goal::Keep(0.6), &EvaluationParams::default()).unwrap();
    let found = [advice.n_components.unwrap(), advice.pca_n_components.unwrap()];
    for (curve, (name, d)) in advice.curves.iter().zip(["TLDR", "PCA"].into_iter().zip(found)) {
        // The curve shows it: the dimension before is not enough.
        assert_eq!(curve.name, name);
        let at = curve.points.iter().position(|p| p.n_components == d).unwrap();
        assert!(curve.points[at].recall.value >= 0.6 && curve.points[at - 1].recall.value < 0.6);
        assert!(d - curve.points[at - 1].n_components <= (d / 20).max(1));
    }
    // A share that nothing keeps.
    let noise = (0..300 * 24).map(|i: usize| ((i * i % 7919) as f32 * 0.61).sin()).collect();
    let x = Matrix::new(300, 24, noise).unwrap();
    let all = advise(&context(), &x, Goal::Keep(0.999), &EvaluationParams::default()).unwrap();
    assert_eq!(all.verdict, Verdict::KeepAll, "{}", all.sentence);
    assert_eq!(all.reduced_bytes_per_vector, all.bytes_per_vector);
}

/// Clusters of directions; what differs by orders of magnitude are lengths.
fn of_any_length(n: usize, dim: usize, salt: usize) -> Matrix {
    let wave = |i: usize| ((i * i % 7919) as f32 * 0.61).sin();
    let rows = (0..n).flat_map(|row| {
        let length = (2.5 * wave(row + salt)).exp();
        (0..dim).map(move |j| {
            let centre = wave((row % 40) * dim + j) * 0.9_f32.powi(j as i32);
            length * (centre + 0.25 * wave((row + salt) * dim + j + 31))
        })
    });
    Matrix::new(n, dim, rows.collect()).unwrap()
}

#[test]
fn under_cosine_baselines_are_of_directions() {
    let ctx = context();
    let (x, queries) = (of_any_length(1200, 24, 0), of_any_length(400, 24, 5000));
    let fit = |params: twinlearn::ParamsBuilder| {
        Trainer::new(params.n_components(6).build().unwrap()).fit(&ctx, &x).unwrap().model
    };
    let pca = fit(Params::builder().solver(twinlearn::Solver::Pca));
    let given = EvaluationData::new(&x).queries(&queries);
    let reductions = [("pca", Reduction::Model(&pca))];
    let found = evaluate(&ctx, &given, &reductions, &EvaluationParams::default()).unwrap();
    // The best form of a fit is no better than the best of the baselines.
    let best = found.best_baseline().unwrap();
    assert!(best.recall.value > found.methods[1].recall.value - 0.01, "{found}");
    let raw = found.methods.iter().find(|method| method.name == "PCA").unwrap();
    assert!(best.recall.value > raw.recall.value + 0.02, "lengths would hide directions: {found}");
}

#[test]
fn a_model_is_judged_as_its_fit_judged_it() {
    let ctx = context();
    let x = FileVectors::open(data("train_x.npy")).unwrap();
    let params = Params::builder().n_components(16).epochs(2).build().unwrap();
    let fit = Trainer::new(params).fit(&ctx, &x).unwrap();
    let reported = fit.report.validation.unwrap();
    let reductions = [("TLDR", Reduction::Model(&fit.model))];
    let params = EvaluationParams::default();
    let found = evaluate(&ctx, &EvaluationData::new(&x), &reductions, &params).unwrap();
    assert_eq!((found.n_rows, found.n_queries), (3600, reported.n_rows));
    let first = &found.methods[1];
    assert!(
        (first.recall.value - reported.recall).abs() < 1e-9,
        "{} {reported:?}",
        first.recall.value
    );
    let rival = found.best_baseline().unwrap();
    assert_eq!(
        (found.rival.clone(), Some(rival.name.clone())),
        (reported.closed_form.clone(), reported.closed_form)
    );
    assert!((rival.recall.value - reported.pca_recall.unwrap()).abs() < 0.01, "{rival:?}");
    let chosen = format!("{} was chosen by other rows that the fit held out.", rival.name);
    assert!(found.notes.contains(&chosen), "{:?}", found.notes);
}

#[test]
fn judgements_are_read_from_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let want = Qrels::new(3, 4, [(0, 1, 2), (2, 3, 1), (2, 0, 0)]).unwrap();
    let names = QrelsNames::default();
    for (name, text) in [
        ("trec.txt", "0 0 1 2\n2 0 3 1\n\n2 0 0 0\n"),
        ("beir.tsv", "query-id\tcorpus-id\tscore\n0\t1\t2\n2\t3\t1\n2\t0\t0\n"),
    ] {
        assert_eq!(Qrels::read(write(name, text), 3, 4, names).unwrap(), want, "{name}");
    }
    let ids = ["a", "b", "c", "d"].map(str::to_owned);
    let named = QrelsNames { queries: Some(&ids[..3]), rows: Some(&ids) };
    let path = write("named.txt", "a 0 b 2\nc 0 d 1\nc 0 a 0\n");
    assert_eq!(Qrels::read(&path, 3, 4, named).unwrap(), want);

    let message = |text: &str, names: QrelsNames<'_>| {
        let path = write("wrong.txt", text);
        let message = Qrels::read(&path, 3, 4, names).unwrap_err().to_string();
        message.replace(&*path.to_string_lossy(), "q.txt")
    };
    let wrong = [
        (message("0 0 1 2\n0 1\n", names), "q.txt: expected 3 or 4 columns in line 2, got 0 1"),
        (
            message("0 0 1 2\n0 0 1 x\n", names),
            "q.txt: expected a whole number as relevance in line 2, got x",
        ),
        (message("0 0 9 1\n", names), "qrels: expected row numbers below 4, got 9"),
        (
            message("e 0 a 1\n", named),
            "q.txt: expected a query's number (or name, where names are given) in line 1, got e",
        ),
        (
            message("0 0 1 2\n0 0 1 1\n", names),
            "qrels: expected one judgement of query 0 and row 1, got two that differ",
        ),
    ];
    for (got, want) in wrong {
        assert_eq!(got, want);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let ctx = context();
    let x = Matrix::new(30, 2, (0..60).map(|i| (i as f32 * 0.7).sin()).collect()).unwrap();
    let short = Matrix::new(29, 2, vec![1.0; 58]).unwrap();
    let labels = vec![0; 29];
    let qrels = Qrels::new(30, 30, [(0, 0, 1)]).unwrap();
    let none = Qrels::new(30, 30, [(0, 0, 0)]).unwrap();
    let of_x = Reduction::Reduced { x: &x, queries: None };
    let of_both = Reduction::Reduced { x: &x, queries: Some(&x) };
    let params = EvaluationParams::default().n_neighbors(2);
    let data = EvaluationData::new(&x);
    type Case<'a> = (EvaluationData<'a>, Reduction<'a>, EvaluationParams, &'a str);
    let cases: [Case<'_>; 9] = [
        (
            data,
            Reduction::Reduced { x: &short, queries: None },
            params,
            "z: expected 30 rows, as the original has, got 29",
        ),
        (data.queries(&x), of_x, params, "z: expected 30 queries, as the original has, got none"),
        (
            data.labels(&labels),
            of_x,
            params,
            "labels: expected 30 labels, one for each row, got 29",
        ),
        (data.qrels(&qrels), of_x, params, "qrels: expected queries that they belong to, got none"),
        (
            data.queries(&x).query_labels(&labels),
            of_both,
            params,
            "query_labels: expected 30 labels, one for each row, got 29",
        ),
        (
            data.queries(&x).qrels(&none),
            of_both,
            params,
            "qrels: expected an answer to at least one query, got none",
        ),
        (
            data,
            of_x,
            params.n_neighbors(12),
            "n_neighbors: expected a number from 1 to 11 for 30 rows, got 12",
        ),
        (
            data,
            of_x,
            params.n_neighbors(0),
            "n_neighbors: expected a number from 1 to 11 for 30 rows, got 0",
        ),
        (data, of_x, params.n_queries(0), "n_queries: expected at least 1, got 0"),
    ];
    for (data, reduction, params, want) in cases {
        let got = evaluate(&ctx, &data, &[("z", reduction)], &params).unwrap_err().to_string();
        assert_eq!(got, want);
    }
    // There is no complaint about a k that nobody gave.
    let few = Matrix::new(15, 2, (0..30).map(|i| (i as f32).sin()).collect()).unwrap();
    let reductions = [("z", Reduction::Reduced { x: &few, queries: None })];
    let defaults = EvaluationParams::default();
    let want = "X: expected more than 20 rows beside the queries, twice n_neighbors, got 12";
    let got = evaluate(&ctx, &EvaluationData::new(&few), &reductions, &defaults).unwrap_err();
    assert_eq!(got.to_string(), want);
    assert_eq!(advise(&ctx, &few, Goal::Keep(0.9), &defaults).unwrap_err().to_string(), want);
    for keep in [0.0, 1.0, f64::NAN] {
        let error = advise(&ctx, &x, Goal::Keep(keep), &params).unwrap_err();
        assert!(matches!(error, Error::Invalid { name, .. } if name == "keep"));
    }
    let cancelled = twinlearn::CancelToken::default();
    cancelled.cancel();
    let error =
        advise(&context().cancel_token(cancelled), &x, Goal::Keep(0.5), &params).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
}

#[test]
fn what_collapsed_is_judged_and_names_do_not_decide() {
    // The first columns are constant: the truncation to them has equal rows.
    let value = |i: usize| if i % 12 < 4 { 0.0 } else { ((i * i % 7919) as f32 * 0.61).sin() };
    let x = Matrix::new(400, 12, (0..400 * 12).map(value).collect()).unwrap();
    let noise = Matrix::new(400, 2, (0..800).map(|i| ((i * 37) as f32).sin()).collect()).unwrap();
    let equal = Matrix::new(400, 4, vec![1.0; 1600]).unwrap();
    for metric in [Metric::L2, Metric::Cosine] {
        let of = |x| Reduction::Reduced { x, queries: None };
        let reductions =
            [("equal", of(&equal)), ("full vectors", of(&noise)), ("equal", of(&noise))];
        let params = EvaluationParams::default().metric(metric);
        let found = evaluate(&context(), &EvaluationData::new(&x), &reductions, &params).unwrap();
        let given: Vec<&MethodEvaluation> = found.given().collect();
        let names: Vec<&str> = given.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["equal", "full vectors (2)", "equal (2)"]);
        assert!(given.iter().all(|m| m.recall.value < 0.2), "{given:?}");
        assert_eq!(given[0].effective_rank.unwrap().value, 1.0);
        let cut = found.methods.iter().find(|m| m.name.starts_with("truncation")).unwrap();
        assert_eq!(cut.effective_rank.unwrap().value, 1.0, "{cut:?}");
    }
}

/// What a fit takes, its evaluation takes: no baseline overflows or vanishes.
#[test]
fn rows_of_any_size_are_judged() {
    let ctx = Context::with_threads(2).unwrap();
    let wave = |i: usize| ((i * i % 9973) as f32 * 0.37).sin();
    for (name, size) in [("tiny", 1e-30_f32), ("huge", 1e18), ("of every size", 0.0)] {
        let value = |i: usize| match size {
            0.0 => wave(i) * 10_f32.powi((i / 12 % 41) as i32 - 20),
            size => wave(i) * size,
        };
        let x = Matrix::new(300, 12, (0..300 * 12).map(value).collect()).unwrap();
        let map = LinearMap::truncation(12, 6).unwrap();
        let reductions = [("first six", Reduction::Map(&map))];
        let params = EvaluationParams::default();
        let found = evaluate(&ctx, &EvaluationData::new(&x), &reductions, &params).unwrap();
        let recalls = found.methods.iter().map(|method| method.recall.value);
        assert!(recalls.clone().all(f64::is_finite), "{name}: {found}");
        assert!(found.methods.iter().any(|method| method.name == "spectral"), "{name}");
        assert!(advise(&ctx, &x, Goal::Keep(0.5), &params).is_ok(), "{name}");
    }
}
