//! Models whose first numbers are reductions of their own.

use std::path::Path;

use twinlearn::{
    Context, EvaluationData, EvaluationParams, FileVectors, Matrix, Model, Params, ParamsBuilder,
    Reduction, Solver, Subset, Trainer, evaluate,
};

fn data(name: &str) -> FileVectors {
    FileVectors::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)).unwrap()
}

fn fit(ctx: &Context, params: ParamsBuilder) -> Model {
    Trainer::new(params.build().unwrap()).fit(ctx, &data("train_x.npy")).unwrap().model
}

#[test]
fn every_prefix_is_near_its_own_model_and_the_whole_loses_nothing() {
    let ctx = Context::with_threads(2).unwrap();
    let params = || Params::builder().n_components(48);
    let (plain, model) = (fit(&ctx, params()), fit(&ctx, params().nested(vec![8, 24])));
    let dedicated = fit(&ctx, Params::builder().n_components(24));
    let (x, queries) = (data("train_x.npy"), data("test_x.npy"));
    let given = [("nested", &model), ("24", &dedicated), ("plain", &plain)];
    let given = given.map(|(name, model)| (name, Reduction::Model(model)));
    let evaluation = EvaluationData::new(&x).queries(&queries);
    let found = evaluate(&ctx, &evaluation, &given, &EvaluationParams::default()).unwrap();
    // At d against the fit without sizes: no less by more than what held-out rows may lose.
    let behind = found.methods[3].recall_behind_first.unwrap();
    assert!(behind.value > -0.01, "{behind:?}");

    let sizes: Vec<usize> = found.nested.iter().map(|nested| nested.n_components).collect();
    assert_eq!(sizes, [8, 24]);
    let names = |i: usize| found.nested[i].methods.iter().map(|m| &m.name[..]).collect::<Vec<_>>();
    assert_eq!((names(0).len(), &names(1)[..2]), (2, &["nested", "24"][..]));
    let of_dedicated = found.nested[1].methods[1].recall_behind_first.unwrap();
    assert!(of_dedicated.value > -0.03, "{of_dedicated:?}");
    for nested in &found.nested {
        let of_pca = nested.methods.last().unwrap();
        assert!(of_pca.recall_behind_first.unwrap().low > 0.0, "{nested:?}");
    }
    let text = found.to_string();
    assert!(
        text.contains("\nthe first 8 dimensions, and recall beside that of nested\nnested "),
        "{text}"
    );

    // The report of the fit tells the same by held-out rows.
    let validation = model.training().validation.clone().unwrap();
    let sizes: Vec<usize> = validation.nested.iter().map(|nested| nested.n_components).collect();
    assert_eq!(sizes, [8, 24]);
    for (reported, found) in validation.nested.iter().zip(&found.nested) {
        assert!((reported.recall - found.methods[0].recall.value).abs() < 0.06, "{reported:?}");
        assert!(reported.gain.unwrap().value > 0.0);
    }
}

#[test]
fn prefixes_stay_good_where_going_on_betters_none() {
    let ctx = Context::with_threads(2).unwrap();
    let x = data("train_x.npy");
    let model = fit(&ctx, Params::builder().n_components(48).nested(vec![8, 24]));
    let again = model.fine_tune().epochs(1).learning_rate(1e-9).build().unwrap();
    let again = Trainer::new(again).warm_start(model.clone()).fit(&ctx, &x).unwrap().model;
    let kept = |model: &Model| {
        let validation = model.training().validation.clone().unwrap();
        validation.nested.iter().map(|nested| nested.recall).collect::<Vec<f64>>()
    };
    for (before, after) in kept(&model).into_iter().zip(kept(&again)) {
        assert!(after > before - 0.002, "{before} {after}");
    }
}

#[test]
fn a_prefix_is_a_model_of_the_first_numbers() {
    let ctx = Context::with_threads(2).unwrap();
    let model = fit(&ctx, Params::builder().n_components(16).nested(vec![4, 8, 16]).epochs(1));
    assert_eq!(model.params().nested, [4, 8], "d itself is no size below d");
    let loaded = Model::from_bytes(&model.to_bytes().unwrap()).unwrap();
    let (ids, rows) = ((0..300).collect::<Vec<u32>>(), data("test_x.npy"));
    let x = Subset::new(&rows, &ids).unwrap();
    for l2_norm in [false, true] {
        let z = model.transform(&ctx, &x, false).unwrap();
        let short = loaded.prefix(8).unwrap();
        let got = short.transform(&ctx, &x, l2_norm).unwrap();
        for i in 0..300 {
            let first = &z.row(i)[..8];
            let length = first.iter().map(|v| v * v).sum::<f32>().sqrt();
            let factor = if l2_norm { 1.0 / length } else { 1.0 };
            for (a, b) in got.row(i).iter().zip(first) {
                assert!((a - b * factor).abs() < 1e-6);
            }
        }
        // Codes have the ranges of these numbers, not of the first of longer vectors.
        let quantiser = short.quantiser(l2_norm).unwrap();
        let codes = quantiser.encode(&got);
        let back: Matrix = quantiser.decode(&codes);
        let worst = got.as_slice().iter().zip(back.as_slice()).map(|(a, b)| (a - b).abs());
        assert!(worst.fold(0.0, f32::max) < 0.05, "l2_norm {l2_norm}");
    }
    // It is saved and cut again like any model.
    let short = model.prefix(8).unwrap();
    let again = Model::from_bytes(&short.to_bytes().unwrap()).unwrap();
    assert_eq!((again.n_components(), &again.params().nested[..]), (8, &[4][..]));
    assert!(again.to_bytes().unwrap() == short.to_bytes().unwrap());
    let direct = model.prefix(4).unwrap();
    let stepped = again.prefix(4).unwrap();
    assert!(stepped.arrays() == direct.arrays());
    let validation = short.training().validation.as_ref().unwrap();
    let reported = &model.training().validation.as_ref().unwrap().nested[1];
    assert_eq!((validation.recall, validation.nested.len()), (reported.recall, 1));

    for n in [0, 3, 12, 17] {
        let error = model.prefix(n).unwrap_err().to_string();
        let want = "n_components: expected one of 4, 8, 16 (what the model was fitted for), got ";
        assert_eq!(error, format!("{want}{n}"));
    }
    let plain = fit(&ctx, Params::builder().n_components(16).epochs(1));
    let error = plain.prefix(8).unwrap_err().to_string();
    let want = "n_components: expected 16 (a model fitted with nested sizes has others), got 8";
    assert_eq!(error, want);
    // Principal axes come in the order of what they carry.
    let pca = fit(&ctx, Params::builder().n_components(16).solver(Solver::Pca));
    assert_eq!(pca.prefix(5).unwrap().n_components(), 5);
    assert_eq!(
        pca.prefix(17).unwrap_err().to_string(),
        "n_components: expected a number from 1 to 16, got 17"
    );
}

#[test]
fn sizes_that_are_none_are_refused() {
    let error = |params: ParamsBuilder| params.build().unwrap_err().to_string();
    let params = |sizes: &[usize]| Params::builder().n_components(16).nested(sizes.to_vec());
    for (sizes, reported) in
        [(&[0, 4][..], "0, 4"), (&[8, 4], "8, 4"), (&[4, 4], "4, 4"), (&[32], "32")]
    {
        assert_eq!(
            error(params(sizes)),
            format!("nested: expected sizes from 1 to 15, rising, got {reported}")
        );
    }
    let of_kl = "nested: expected none but with loss KL, solver sgd and neighbours as pairs, got 8";
    assert_eq!(error(params(&[8]).loss(twinlearn::Loss::BT)), of_kl);
    assert_eq!(error(params(&[8]).solver(Solver::Pca)), of_kl);
    assert_eq!(error(params(&[8]).gaussian(true)), of_kl);
    assert_eq!(
        error(params(&[8]).whiten(0.5)),
        "whiten: expected 0 with nested sizes (it would turn them away), got 0.5"
    );
}
