//! Fits of fewer rows than dimensions: they are made in the span of the rows, and models are of X.

use std::ops::ControlFlow;

use twinlearn::{
    Checkpoints, Context, EvaluationData, EvaluationParams, Fit, FitData, Goal, LinearMap, Loss,
    Matrix, Metric, Optimizer, Params, ParamsBuilder, Pca, Reduction, Solver, Trainer, Vectors,
    Verdict, advise, evaluate,
};

const DIM: usize = 300;

/// Rows of twelve directions and a little noise, `offset` from the origin.
fn rows(n: usize, phase: usize, offset: f32) -> Matrix {
    let wave = |i: usize, j: usize| (((i * 7919 + j * 104_729) % 9973) as f32 * 0.37).sin();
    let value = |at: usize| {
        let (row, column) = (at / DIM, at % DIM);
        let along = |c: usize| 0.8_f32.powi(c as i32) * wave(row + phase, c) * wave(c + 31, column);
        let noise = 0.05 * wave(row + phase + 17, column + 13);
        offset + noise + (0..12).map(along).sum::<f32>()
    };
    Matrix::new(n, DIM, (0..n * DIM).map(value).collect()).unwrap()
}

fn context(threads: usize) -> Context {
    Context::with_threads(threads).unwrap()
}

fn fit(ctx: &Context, x: &Matrix, params: ParamsBuilder) -> Fit {
    Trainer::new(params.build().unwrap()).fit(ctx, x).unwrap()
}

fn base() -> ParamsBuilder {
    Params::builder().n_components(6).epochs(4)
}

fn closed(solver: Solver) -> ParamsBuilder {
    Params::builder().n_components(6).solver(solver)
}

#[test]
fn every_way_of_training_gives_a_model_of_x() {
    let (x, new) = (rows(150, 0, 0.0), rows(40, 1000, 0.0));
    let offset = rows(150, 0, 3.0);
    for (name, params, x) in [
        ("default", base(), &x),
        ("l2", base().metric(Metric::L2), &offset),
        ("ip", base().metric(Metric::Ip), &x),
        ("centred", base().centre_target(true).whiten(0.5), &x),
        ("mlp", base().encoder("mlp-1-24".parse().unwrap()), &x),
        ("nested", base().nested(vec![2, 4]), &x),
        ("bt", base().loss(Loss::BT), &x),
        ("adamw", base().loss(Loss::BT).optimizer(Optimizer::AdamW), &x),
        ("mse", base().loss(Loss::MSE), &x),
        ("noise", base().gaussian(true).loss(Loss::BT), &x),
        ("pca", closed(Solver::Pca), &x),
        ("spectral", closed(Solver::Spectral), &x),
    ] {
        let one = fit(&context(1), x, params.clone());
        assert_eq!(one.model.n_features(), DIM, "{name}");
        assert_eq!(one.report.n_features, DIM, "{name}");
        let bytes = one.model.to_bytes().unwrap();
        assert!(bytes == fit(&context(3), x, params).model.to_bytes().unwrap(), "{name}");
        let ctx = context(2);
        let z = one.model.transform(&ctx, &new, false).unwrap();
        assert!(z.as_slice().iter().all(|v| v.is_finite()), "{name}");
        // The reported recall of held-out rows is what the model keeps of them.
        if let Some(reported) = &one.report.validation {
            let found = held_out_recall(&ctx, x, &one);
            assert!(
                (reported.recall - found).abs() < 0.02,
                "{name}: {} reported, {found}",
                reported.recall
            );
        }
    }
}

/// recall@10 of the rows by which a fit was judged, beside those that it was made on.
fn held_out_recall(ctx: &Context, x: &Matrix, fit: &Fit) -> f64 {
    let of = |ids: &[u32], dim: usize, from: &Matrix| {
        let data = ids.iter().flat_map(|&id| from.row(id as usize).to_vec()).collect();
        Matrix::new(ids.len(), dim, data).unwrap()
    };
    let base: Vec<u32> =
        (0..x.n_rows() as u32).filter(|id| fit.held_out.binary_search(id).is_err()).collect();
    let metric = fit.model.params().metric;
    let z = fit.model.transform(ctx, x, false).unwrap();
    let search = |dim: usize, from: &Matrix| {
        let params = twinlearn::KnnParams::new(10).metric(metric);
        let (base, asked) = (of(&base, dim, from), of(&fit.judged, dim, from));
        twinlearn::knn_search(ctx, &asked, &base, &params).unwrap()
    };
    let [truth, found] = [search(x.cols(), x), search(z.cols(), &z)];
    twinlearn::recall_at_k(truth.ids(), found.ids(), 10).unwrap()
}

#[test]
fn what_lies_outside_of_the_rows_is_not_looked_at() {
    let (ctx, x) = (context(2), rows(60, 0, 0.0));
    let model = fit(&ctx, &x, base()).model;
    let map = model.linear_map().unwrap();
    // A vector less its part in the span of the rows, by many steps of steepest descent.
    let mut outside: Vec<f64> = (0..DIM).map(|j| (j as f64 * 1.3).cos()).collect();
    for _ in 0..400 {
        for row in x.as_slice().chunks_exact(DIM) {
            let (mut along, mut square) = (0.0, 0.0);
            for (&v, o) in row.iter().zip(&outside) {
                along += f64::from(v) * o;
                square += f64::from(v) * f64::from(v);
            }
            for (o, &v) in outside.iter_mut().zip(row) {
                *o -= along / square * f64::from(v);
            }
        }
    }
    let length = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    assert!(length(&outside) > 1.0);
    for i in 0..6 {
        let weight: Vec<f64> = map.weight().row(i).iter().map(|&w| w.into()).collect();
        let along: f64 = weight.iter().zip(&outside).map(|(w, o)| w * o).sum();
        let share = along.abs() / (length(&weight) * length(&outside));
        assert!(share < 1e-2, "output {i}: {share}");
    }
}

#[test]
fn closed_forms_are_those_of_the_whole() {
    let (ctx, x) = (context(2), rows(90, 0, 0.0));
    let z = fit(&ctx, &x, closed(Solver::Pca).metric(Metric::L2)).model;
    let z = z.transform(&ctx, &x, false).unwrap();
    // Among the forms is PCA of the rows that are not held out; whichever was taken, as many
    // neighbours are kept as by PCA of all rows.
    let pca = Pca::fit(&ctx, &x).unwrap().unwrap().projection(6, 0.0).unwrap();
    let kept = |z: &Matrix| {
        let graph = |x: &dyn Vectors| {
            let params = twinlearn::KnnParams::new(10).metric(Metric::L2);
            twinlearn::knn_graph(&ctx, x, &params).unwrap()
        };
        twinlearn::recall_at_k(graph(&x).ids(), graph(z).ids(), 10).unwrap()
    };
    let (ours, whole) = (kept(&z), kept(&pca.transform(&ctx, &x).unwrap()));
    assert!(ours > whole - 0.03, "{ours} for {whole}");
}

/// Where few of very many axes are sought, training goes on in a basis of which the others are not
/// principal ones.
#[test]
fn rows_of_very_many_numbers_are_trained_on_in_another_basis() {
    let (n, dim) = (1400, 1100);
    let noise = |i: usize| ((i * 7919 % 99_991) as f32 * 0.61).sin();
    // Neighbours differ along small axes that PCA does not see; every fourth column is dead.
    let value = |i: usize| {
        let (row, j) = (i / dim, i % dim);
        let group = 3.0 * noise(row % 40 * 131 + j * 3) * f32::from(j % 16 == 0);
        let near = noise(row / 4 * 577 + j * 5) * f32::from(j % 16 == 1);
        if j % 4 == 3 { 0.0 } else { group + near + 0.1 * noise(i) }
    };
    let x = Matrix::new(n, dim, (0..n * dim).map(value).collect()).unwrap();
    for (name, params, gain) in [("cosine", base(), 0.02), ("l2", base().metric(Metric::L2), 0.0)] {
        let one = fit(&context(1), &x, params.clone());
        let bytes = one.model.to_bytes().unwrap();
        assert!(bytes == fit(&context(3), &x, params).model.to_bytes().unwrap(), "{name}");
        let reported = one.report.validation.as_ref().unwrap();
        let start = reported.start_recall.unwrap();
        assert!(reported.recall >= start + gain, "{name}: {} from {start}", reported.recall);
        let found = held_out_recall(&context(2), &x, &one);
        assert!(
            (reported.recall - found).abs() < 0.02,
            "{name}: {} reported, {found}",
            reported.recall
        );
    }
}

#[test]
fn queries_and_rows_to_watch_are_in_the_span_too() {
    let (ctx, x, queries) = (context(2), rows(120, 0, 0.0), rows(60, 500, 0.0));
    let data = FitData::new(&x).queries(&queries);
    let fit = Trainer::new(base().build().unwrap()).fit_data(&ctx, data).unwrap();
    assert_eq!(fit.model.n_features(), DIM);
    assert!(fit.report.training.queries.unwrap().validation.unwrap().recall > 0.5);

    let trainer = Trainer::new(base().build().unwrap()).validation_rows(rows(50, 900, 0.0));
    let fit = trainer.fit(&ctx, &x).unwrap();
    assert_eq!((fit.report.training.n_anchors, fit.held_out.len()), (120, 0));
    assert!(fit.report.validation.unwrap().recall > 0.5);
}

#[test]
fn a_broken_run_goes_on_with_the_same_bits() {
    let (ctx, x) = (context(2), rows(150, 0, 0.0));
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, until: usize, resume: bool| {
        let checkpoints = Checkpoints::new(folder.path().join(name)).resume(resume);
        let trainer = Trainer::new(base().build().unwrap()).checkpoints(checkpoints);
        let trainer = trainer.on_epoch(move |report| match report.epoch == until {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        trainer.fit(&ctx, &x).unwrap().model.to_bytes().unwrap()
    };
    let whole = run("whole", usize::MAX, false);
    let best = std::fs::read(folder.path().join("whole/best.safetensors")).unwrap();
    assert_eq!(twinlearn::Model::from_bytes(&best).unwrap().n_features(), DIM);
    assert!(run("whole", usize::MAX, true) == whole, "a run that is whole stays as it is");
}

#[test]
fn evaluations_and_advice_take_them() {
    let (ctx, x) = (context(2), rows(200, 0, 0.0));
    let params = EvaluationParams::default();
    let map = LinearMap::truncation(DIM, 12).unwrap();
    let reductions = [("first twelve", Reduction::Map(&map))];
    let found = evaluate(&ctx, &EvaluationData::new(&x), &reductions, &params).unwrap();
    let of = |name: &str| {
        let method = found.methods.iter().find(|method| method.name == name);
        method.unwrap_or_else(|| panic!("no {name}")).recall.value
    };
    assert!(of("PCA") > 0.8 && of("PCA") > of("first twelve"), "{found}");
    // More dimensions than there are rows to fit on.
    let map = LinearMap::truncation(DIM, 250).unwrap();
    let reductions = [("first 250", Reduction::Map(&map))];
    let found = evaluate(&ctx, &EvaluationData::new(&x), &reductions, &params).unwrap();
    assert!(found.methods.iter().all(|method| method.recall.value.is_finite()), "{found}");

    let advice = advise(&ctx, &x, Goal::Keep(0.8), &params).unwrap();
    assert!(matches!(advice.verdict, Verdict::Tldr | Verdict::PcaIsEnough), "{advice}");
    assert!(advice.pca_n_components.unwrap() < 40, "{advice}");
}
