//! What is refused, what follows from what, what is counted.

use twinlearn_knn::{KnnApproximation, KnnMethod, Metric};

use super::*;
use crate::nn::NormLayer;

#[test]
fn the_reference_recipe_is_the_papers() {
    let p = Params::builder().recipe(Recipe::Reference).build().unwrap();
    assert_eq!((p.n_components, p.n_neighbors, p.batch_size), (32, 5, 1024));
    assert_eq!((p.epochs, p.warmup_epochs), (Some(100), Some(10)));
    assert_eq!((p.loss, p.learning_rate, p.lambd), (Loss::BT, Some(0.2), 3.9e-3));
    assert_eq!((p.init, p.metric, p.scale_loss), (Init::Random, Metric::Ip, 1.0 / 32.0));
    assert_eq!(p.encoder.to_string(), "linear");
    assert_eq!(p.projector.as_ref().unwrap().to_string(), "mlp-2-2048");
    // The warm-up that nobody asked for fits into fewer epochs.
    let p = Params::builder().recipe(Recipe::Reference).epochs(5).build().unwrap();
    assert_eq!(p.warmup_epochs, Some(4));
}

#[test]
fn the_loss_is_kl_but_where_barlow_twins_is_meant() {
    let loss = |b: ParamsBuilder| b.build().unwrap().loss;
    let b = Params::builder;
    assert_eq!(loss(b()), Loss::KL);
    assert_eq!(loss(b().loss(Loss::Auto)), Loss::KL);
    assert_eq!(loss(b().projector(Some("mlp-1-8".parse().unwrap()))), Loss::BT);
    assert_eq!(loss(b().recipe(Recipe::Reference)), Loss::BT);
    assert_eq!(loss(b().lambd(0.1)), Loss::BT);
    // What is the default anyway says nothing.
    assert_eq!(loss(b().lambd(3.9e-3).scale_loss(1.0 / 32.0).projector(None)), Loss::KL);
}

#[test]
fn losses_bring_their_own_defaults() {
    let p = Params::builder().build().unwrap();
    assert_eq!((p.optimizer, p.n_neighbors, p.batch_size), (Optimizer::AdamW, 64, 128));
    assert_eq!((p.tau, p.learning_rate, p.epochs, p.warmup_epochs), (None, None, None, None));
    assert_eq!((&p.projector, p.init), (&None, Init::Best));
    let p = Params::builder().loss(Loss::BT).build().unwrap();
    assert_eq!((p.optimizer, p.n_neighbors, p.batch_size), (Optimizer::Lars, 5, 512));
    assert_eq!((p.epochs, p.warmup_epochs, p.init), (Some(8), Some(1), Init::Best));
    let p = Params::builder().solver(Solver::Spectral).build().unwrap();
    assert_eq!((p.init, p.projector.as_ref()), (Init::Spectral, None));
    let solver = || Params::builder().solver(Solver::Pca);
    assert_eq!(solver().build().unwrap().init, Init::Best);
    assert_eq!(solver().pca_power(0.5).build().unwrap().init, Init::Pca);
    // An encoder that can carry a linear start gets one: with loss KL a trained one.
    let init = |spec: &str, norm| {
        let b = Params::builder().encoder(spec.parse().unwrap()).norm_layer(norm);
        b.n_components(32).build().unwrap().init
    };
    assert_eq!(init("mlp-1-64", NormLayer::Batch), Init::Best);
    assert_eq!(init("mlp-1-63", NormLayer::Batch), Init::Random);
    assert_eq!(init("flinear-1-32", NormLayer::Batch), Init::Best);
    let bt = Params::builder().encoder("mlp-1-64".parse().unwrap()).loss(Loss::BT);
    assert_eq!(bt.build().unwrap().init, Init::Pca);
    assert_eq!(init("flinear-1-32", NormLayer::Layer), Init::Random);
}

#[test]
fn what_is_wrong_is_named() {
    let error = |b: ParamsBuilder| b.build().unwrap_err().to_string();
    let b = Params::builder;
    assert_eq!(error(b().batch_size(1)), "batch_size: expected at least 2, got 1");
    assert_eq!(
        error(b().epochs(usize::MAX / 2)),
        format!("epochs: expected at most 1048576, got {}", usize::MAX / 2)
    );
    assert_eq!(
        error(b().epochs(3).warmup_epochs(3)),
        "warmup_epochs: expected fewer than epochs (3), got 3"
    );
    assert_eq!(
        error(b().learning_rate(f64::NAN)),
        "learning_rate: expected a finite number above 0, got NaN"
    );
    assert_eq!(
        error(b().encoder("mlp-1-8".parse().unwrap()).n_components(5).init(Init::Pca)),
        "init: expected random for the encoder mlp-1-8 with BN and d = 5 (batch norm and wider \
         hidden layers would carry a pca start), got pca"
    );
    let projector = Some("mlp-1-8".parse().unwrap());
    assert_eq!(
        error(b().loss(Loss::KL).projector(projector.clone())),
        "projector: expected none with loss KL, got mlp-1-8"
    );
    assert_eq!(
        error(b().solver(Solver::Spectral).init(Init::Pca)),
        "init: expected none with solver spectral, got pca"
    );
    assert_eq!(
        error(b().loss(Loss::MSE).projector(None)),
        "projector: expected one that gives back the vectors with loss MSE, got none"
    );
    assert_eq!(
        error(b().gaussian(true).init(Init::Spectral)),
        "init: expected best, pca, random or model with gaussian pairs, got spectral"
    );
    assert_eq!(error(b().tau(0.0)), "tau: expected a finite number above 0, got 0");
    assert_eq!(error(b().whiten(-1.0)), "whiten: expected a number from 0 to 4, got -1");
    assert_eq!(
        error(b().whiten(0.5).projector(projector.clone()).retain_projector(true)),
        "whiten: expected 0 where the projector is retained (it was trained before it), got 0.5"
    );
    assert_eq!(
        "x".parse::<Init>().unwrap_err().to_string(),
        "init: expected best, pca, spectral, random or model, got \"x\""
    );
}

#[test]
fn what_would_do_nothing_is_refused_by_name() {
    let b = Params::builder;
    let projector = || Some("mlp-1-8".parse().unwrap());
    let spectral = || b().solver(Solver::Spectral);
    for (builder, wanted) in [
        (b().loss(Loss::BT).tau(0.1), "tau: expected none with loss BT, got 0.1"),
        (b().projector(projector()).tau(0.1), "tau: expected none with loss BT, got 0.1"),
        (
            b().loss(Loss::BT).centre_target(true),
            "centre_target: expected none with loss BT, got true",
        ),
        (
            b().solver(Solver::Pca).metric(Metric::L2).centre_target(true),
            "centre_target: expected none with metric l2, which is about the mean anyway, got true",
        ),
        (b().noise(2.0), "noise: expected none with neighbours as pairs, got 2"),
        (
            b().solver(Solver::Pca).n_neighbors(20),
            "n_neighbors: expected none with solver pca, which looks for no neighbours, got 20",
        ),
        (
            b().solver(Solver::Pca).knn_method(KnnMethod::Exact),
            "knn_method: expected none with solver pca, which looks for no neighbours, got exact",
        ),
        (
            spectral().norm_layer(NormLayer::Layer),
            "norm_layer: expected none with solver spectral, which does not train, got LN",
        ),
        (
            b().solver(Solver::Pca).encoder("mlp-1-64".parse().unwrap()),
            "encoder: expected linear with solver pca, got mlp-1-64",
        ),
        (
            b().loss(Loss::Auto).tau(0.1),
            "tau: expected none with loss auto, which chooses it, got 0.1",
        ),
        (
            b().loss(Loss::Auto).init(Init::Pca),
            "init: expected none with loss auto, which chooses it, got pca",
        ),
        (b().loss(Loss::KL).lambd(0.1), "lambd: expected none with loss KL, got 0.1"),
        (
            spectral().epochs(3),
            "epochs: expected none with solver spectral, which does not train, got 3",
        ),
        (
            b().solver(Solver::Pca).loss(Loss::KL),
            "loss: expected none with solver pca, which does not train, got KL",
        ),
        (
            b().gaussian(true).n_neighbors(3),
            "n_neighbors: expected none with gaussian pairs, which need no neighbours, got 3",
        ),
        (
            b().init(Init::Random).pca_power(0.5),
            "pca_power: expected none with init random, got 0.5",
        ),
        (
            b().norm_layer(NormLayer::Layer),
            "norm_layer: expected none with no hidden layer, got LN",
        ),
        (b().retain_projector(true), "retain_projector: expected none with no projector, got true"),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), wanted);
    }
    // Defaults that are written down change nothing and are taken.
    let plain = b().norm_layer(NormLayer::Batch).centre_target(false).gaussian(false);
    plain.retain_projector(false).build().unwrap();
    spectral().pca_power(0.5).init(Init::Spectral).build().unwrap();
}

#[test]
fn held_out_rows_are_a_tenth_up_to_two_thousand() {
    let p = Params::builder().build().unwrap();
    assert_eq!([99, 100, 5000, 50_000].map(|n| p.n_validation(n)), [0, 10, 500, 2000]);
    let p = Params::builder().validation_fraction(0.25).build().unwrap();
    assert_eq!(p.n_validation(50), 12);
}

#[test]
fn anchors_grow_fewer_as_rows_grow_more() {
    let params = Params::builder().build().unwrap();
    let anchors = |n, dim| params.n_anchors(n, dim);
    assert_eq!([anchors(500, 384), anchors(202_000, 4096)], [500, 202_000]);
    assert_eq!([anchors(300_000, 384), anchors(1_000_000, 768)], [202_000, 90_000]);
    assert_eq!([anchors(1_000_000, 1024), anchors(900_000, 1536)], [67_500, 50_000]);
    assert_eq!([anchors(1_000_000, 4096), anchors(10_000_000, 384)], [20_000; 2]);
    let exact = Params::builder().knn_method(KnnMethod::Exact).build().unwrap();
    assert_eq!([exact.n_anchors(300_000, 384), exact.n_anchors(1_000_000, 384)], [100_000, 30_000]);
    assert_eq!([params.least_steps(202_000), params.least_steps(300_000)], [1000, 2500]);
    let whole = |builder: ParamsBuilder| builder.build().unwrap().needs_whole_graph(300_000);
    let b = Params::builder;
    assert!(!whole(b()) && !whole(b().knn_method(KnnMethod::Exact)));
    assert!(whole(b().loss(Loss::BT)) && whole(b().knn_method(KnnMethod::Descent)));
    assert!(whole(b().knn_approximation(KnnApproximation::Low)));
    // Other losses learn from all rows.
    assert_eq!(b().loss(Loss::BT).build().unwrap().n_anchors(300_000, 384), 300_000);
}

/// A table whose defaults are not those that are taken would stand in help and docs.
#[test]
fn the_table_tells_the_defaults_that_are_taken() {
    let all = |params: Params| match serde_json::to_value(&params) {
        Ok(serde_json::Value::Object(fields)) => fields,
        other => panic!("{other:?}"),
    };
    let ours = all(Params::builder().build().unwrap());
    let reference = all(Params::builder().recipe(Recipe::Reference).build().unwrap());
    let shown = |value: Option<&serde_json::Value>| match value {
        None | Some(serde_json::Value::Null) => "none".to_owned(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => value.as_f64().map_or(value.to_string(), |number| number.to_string()),
    };
    for info in Hyperparameters::TABLE {
        let (own, _) = info.default.split_once("; reference").unwrap_or((info.default, ""));
        let is_chosen = ["epochs", "warmup_epochs", "tau", "learning_rate", "validation_fraction"];
        if is_chosen.contains(&info.name) {
            assert_eq!(shown(ours.get(info.name)), "none", "{}: chosen later", info.name);
        } else if info.name != "query_share" && info.name != "optimizer" {
            let first = own.split(' ').next().unwrap_or_default().trim_end_matches(';');
            assert_eq!(shown(ours.get(info.name)), first, "{}", info.name);
        }
        if let Some((_, of_reference)) = info.default.split_once("reference recipe: ") {
            assert_eq!(shown(reference.get(info.name)), of_reference, "{}", info.name);
        }
    }
}

#[test]
fn a_value_by_name_is_that_of_the_setter() {
    let named = |name, value: Value| Params::builder().set(name, &value).map(ParamsBuilder::build);
    let text = |text: &str| Value::Text(text.to_owned());
    for (name, value, same) in [
        ("n_components", Value::Whole(7), Params::builder().n_components(7)),
        ("seed", Value::Whole(u64::MAX), Params::builder().seed(u64::MAX)),
        ("whiten", Value::Real(0.25), Params::builder().whiten(0.25)),
        ("gaussian", Value::Truth(true), Params::builder().gaussian(true)),
        ("metric", text("l2"), Params::builder().metric(Metric::L2)),
        ("encoder", text("mlp-1-64"), Params::builder().encoder("mlp-1-64".parse().unwrap())),
        ("projector", text("none"), Params::builder().projector(None)),
        ("nested", Value::Sizes(vec![4, 8]), Params::builder().nested(vec![4, 8])),
    ] {
        assert_eq!(named(name, value).unwrap().unwrap(), same.build().unwrap(), "{name}");
    }
    for (name, value, message) in [
        ("epochs", Value::Real(0.5), "epochs: expected a whole number from 0, got 0.5"),
        ("metric", text("l3"), "metric: expected cosine, ip or l2, got \"l3\""),
        ("speed", Value::Whole(1), "speed: expected a hyper-parameter, got 1"),
    ] {
        assert_eq!(named(name, value).unwrap_err().to_string(), message);
    }
}

#[test]
fn moving_targets_to_the_mean_does_nothing_under_l2() {
    let params = Params::builder().metric(Metric::L2).centre_target(true);
    assert_eq!(
        params.build().unwrap_err().to_string(),
        "centre_target: expected none with metric l2, which is about the mean anyway, got true"
    );
}

#[test]
fn the_whole_may_be_named_at_the_end_of_nested_sizes() {
    let nested =
        |sizes: &[usize]| Params::builder().n_components(16).nested(sizes.to_vec()).build();
    assert_eq!(nested(&[4, 16]).unwrap().nested, [4]);
    for sizes in [&[16, 4][..], &[16], &[4, 16, 16]] {
        assert!(nested(sizes).is_err(), "{sizes:?}");
    }
}
