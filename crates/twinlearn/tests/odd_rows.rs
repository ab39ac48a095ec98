//! A few rows unlike the others rule some closed forms. A fit must not fall below the forms that they do
//! not rule, and must not say that it is ahead of all where it is not.

mod support;

use twinlearn::{
    Context, EvaluationData, EvaluationParams, Matrix, Metric, Params, Reduction, Solver, Trainer,
    evaluate,
};

/// About normal numbers.
fn normal(seed: u64) -> impl FnMut() -> f32 {
    let mut uniform = support::uniform(seed);
    move || (0..6).map(|_| uniform()).sum::<f32>() * std::f32::consts::SQRT_2
}

/// How much less a fit keeps of the neighbours of new rows than the best baseline of PCA, and what it
/// said of itself: the upper end of its gain.
fn behind_pca(
    all: &[f32],
    dim: usize,
    n_fitted: usize,
    metric: Metric,
    solver: Solver,
) -> [f64; 2] {
    let ctx = Context::with_threads(2).unwrap();
    let (fitted, new) = all.split_at(n_fitted * dim);
    let x = Matrix::new(n_fitted, dim, fitted.to_vec()).unwrap();
    let q = Matrix::new(new.len() / dim, dim, new.to_vec()).unwrap();
    let params = Params::builder().n_components(8).metric(metric).solver(solver);
    let fit = Trainer::new(params.build().unwrap()).fit(&ctx, &x).unwrap();
    let judged = EvaluationParams::default().metric(metric).n_queries(500);
    let reductions = [("fit", Reduction::Model(&fit.model))];
    let data = EvaluationData::new(&x).queries(&q);
    let methods = evaluate(&ctx, &data, &reductions, &judged).unwrap().methods;
    let recall = |name: &dyn Fn(&str) -> bool| {
        let of = methods.iter().filter(|m| name(&m.name)).map(|m| m.recall.value);
        of.fold(0.0, f64::max)
    };
    let behind = recall(&|name| name.starts_with("PCA")) - recall(&|name| name == "fit");
    [behind, fit.report.validation.unwrap().gain.unwrap().low]
}

#[test]
fn short_rows_in_other_directions_do_not_hide_the_axes_of_the_others() {
    const DIM: usize = 41;
    let mut normal = normal(5);
    let mut all = vec![0.0; 2500 * DIM];
    for (i, row) in all.chunks_exact_mut(DIM).enumerate() {
        if i % 20 == 7 {
            row[21..].iter_mut().for_each(|v| *v = normal());
        } else {
            row[0] = 100.0;
            row[1..8].iter_mut().for_each(|v| *v = normal());
            row[8..21].iter_mut().for_each(|v| *v = 0.05 * normal());
        }
    }
    for solver in [Solver::Sgd, Solver::Pca] {
        let [behind, low] = behind_pca(&all, DIM, 2000, Metric::Cosine, solver);
        assert!(behind < 0.02, "{solver}: {behind}");
        assert!(low < 0.02, "{solver}: {low}");
    }
}

#[test]
fn an_offset_with_short_rows_is_taken_off_where_that_keeps_more() {
    const DIM: usize = 32;
    let mut normal = normal(9);
    let mut all = vec![0.0; 2500 * DIM];
    for (i, row) in all.chunks_exact_mut(DIM).enumerate() {
        if i % 33 == 5 {
            row.iter_mut().for_each(|v| *v = 0.05 * normal());
        } else {
            row.iter_mut().enumerate().for_each(|(j, v)| *v = normal() * 0.9_f32.powi(j as i32));
            row[0] += 20.0;
        }
    }
    let [behind, low] = behind_pca(&all, DIM, 2000, Metric::Cosine, Solver::Sgd);
    assert!(behind < 0.02 && low < 0.1, "{behind} {low}");
}

#[test]
fn rows_without_a_variance_are_no_worse_than_axes_of_directions() {
    const DIM: usize = 30;
    let mut uniform = support::uniform(3);
    // Cauchy's distribution.
    let all: Vec<f32> =
        (0..2500 * DIM).map(|_| (uniform() * 0.9999 * std::f32::consts::PI).tan()).collect();
    let [behind, _] = behind_pca(&all, DIM, 2000, Metric::L2, Solver::Sgd);
    assert!(behind < 0.02, "{behind}");
}
