//! What must not change a result: where the origin is, under l2; how long rows are, under cosine; axes
//! that carry nothing; and what PCA in `f64` would say of the same rows.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use twinlearn::{
    Context, DenseVectors, EvaluationData, EvaluationParams, FileVectors, Fit, Goal, Init,
    KnnMethod, KnnParams, LinearMap, Matrix, Metric, Model, Params, ParamsBuilder, Pca, Reduction,
    Solver, Trainer, TransformOptions, VectorSource, Vectors, advise, evaluate, knn_graph,
    knn_search, recall_at_k,
};

const ROWS: usize = 600;
const DIM: usize = 24;

/// Clustered rows, one of each column's own size, as `f64`.
fn rows(seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let centres: Vec<f64> = (0..20 * DIM).map(|_| uniform() - 0.5).collect();
    let mut data = Vec::with_capacity(ROWS * DIM);
    for _ in 0..ROWS {
        let centre = (uniform() * 20.0) as usize;
        for j in 0..DIM {
            let noise = (0..4).map(|_| uniform() - 0.5).sum::<f64>();
            data.push((centres[centre * DIM + j] + 0.3 * noise) / (1.0 + j as f64).powf(0.3));
        }
    }
    data
}

/// The same, of lengths from 1e-4 to 1e4.
fn of_many_lengths(rows: &[f64]) -> Vec<f64> {
    let scaled = |(i, row): (usize, &[f64])| {
        let scale = 10f64.powi((i % 9) as i32 - 4);
        row.iter().map(|v| v * scale).collect::<Vec<f64>>()
    };
    rows.chunks_exact(DIM).enumerate().flat_map(scaled).collect()
}

fn ctx() -> Context {
    Context::with_threads(2).unwrap()
}

fn fit(x: &dyn Vectors, params: ParamsBuilder) -> Fit {
    Trainer::new(params.build().unwrap()).fit(&ctx(), x).unwrap()
}

fn params(metric: Metric) -> ParamsBuilder {
    Params::builder().n_components(6).metric(metric).epochs(8).seed(3)
}

/// recall@10 of all rows' neighbours by a fit, the originals as `f64`.
fn kept(original: &[f64], metric: Metric, fit: &Fit, x: &dyn Vectors) -> f64 {
    let exact: Vec<f32> = original.iter().map(|&v| v as f32).collect();
    let original = Matrix::new(ROWS, DIM, exact).unwrap();
    let z = fit.model.transform(&ctx(), x, false).unwrap();
    let search = KnnParams::new(11).metric(metric);
    let near = |x: &Matrix| knn_search(&ctx(), x, x, &search).unwrap();
    recall_at_k(near(&original).ids(), near(&z).ids(), 11).unwrap()
}

proptest! {
    // Recalls are held to be alike by tolerances, which are of samples: the same ones in every run.
    #![proptest_config(ProptestConfig {
        cases: 8,
        rng_seed: RngSeed::Fixed(5),
        ..ProptestConfig::default()
    })]

    #[test]
    fn under_l2_the_origin_does_not_matter(seed in 0u64..1000, power in 0i32..9, sign in -1.0f64..1.0) {
        let near = rows(seed);
        let far: Vec<f64> = near.iter().map(|v| v + sign * 10f64.powi(power)).collect();
        let (near_x, far_x) =
            (DenseVectors::new(&near, DIM).unwrap(), DenseVectors::new(&far, DIM).unwrap());
        for solver in [Solver::Sgd, Solver::Pca] {
            let given = || match solver {
                Solver::Sgd => params(Metric::L2),
                _ => Params::builder().n_components(6).metric(Metric::L2).solver(solver),
            };
            let [a, b] = [&near_x, &far_x].map(|x| kept(&near, Metric::L2, &fit(x, given()), x));
            prop_assert!((a - b).abs() < 0.02, "{solver}: {a} at the origin, {b} away");
        }
    }

    #[test]
    fn under_cosine_lengths_do_not_matter(seed in 0u64..1000, power in -25i32..21) {
        let plain = rows(seed);
        let scaled: Vec<f64> = plain.iter().map(|v| v * 10f64.powi(power)).collect();
        let uneven = of_many_lengths(&plain);
        let recall = |x: &[f64]| {
            let x = DenseVectors::new(x, DIM).unwrap();
            kept(&plain, Metric::Cosine, &fit(&x, params(Metric::Cosine)), &x)
        };
        let (a, b, c) = (recall(&plain), recall(&scaled), recall(&uneven));
        prop_assert!((a - b).abs() < 0.02, "{a} as they are, {b} scaled by 1e{power}");
        prop_assert!((a - c).abs() < 0.02, "{a} as they are, {c} of many lengths");
    }
}

/// Few rows choose among many closed forms: those of rows with other lengths must not be taken by luck.
#[test]
fn under_cosine_lengths_do_not_choose_another_form_by_luck() {
    for seed in [412, 432] {
        let plain = rows(seed);
        let uneven = of_many_lengths(&plain);
        let [a, b] = [&plain, &uneven].map(|x| {
            let x = DenseVectors::new(x, DIM).unwrap();
            kept(&plain, Metric::Cosine, &fit(&x, params(Metric::Cosine)), &x)
        });
        assert!((a - b).abs() < 0.01, "{seed}: {a} as they are, {b} of many lengths");
    }
}

#[test]
fn under_l2_neighbours_do_not_depend_on_the_origin() {
    let near = rows(7);
    let far: Vec<f64> = near.iter().map(|v| v - 1e8).collect();
    let [near, far] = [&near, &far].map(|rows| DenseVectors::new(rows, DIM).unwrap());
    for method in [KnnMethod::Exact, KnnMethod::Descent, KnnMethod::Pq] {
        let params = KnnParams::new(8).metric(Metric::L2).method(method);
        let [a, b] = [&near, &far].map(|x| knn_graph(&ctx(), x, &params).unwrap());
        let recall = recall_at_k(a.ids(), b.ids(), 8).unwrap();
        assert!(recall > if method == KnnMethod::Pq { 0.8 } else { 0.999 }, "{method}: {recall}");
    }
    let params = KnnParams::new(8).metric(Metric::L2);
    let [a, b] = [&near, &far].map(|x| knn_search(&ctx(), x, x, &params).unwrap());
    assert!(recall_at_k(a.ids(), b.ids(), 8).unwrap() > 0.999);
}

/// What is kept is measured as it is where the origin is near, and judged by the rows that were held out.
#[test]
fn under_l2_evaluations_do_not_depend_on_the_origin() {
    let near = rows(7);
    let far: Vec<f64> = near.iter().map(|v| v + 1e8).collect();
    let [near, far] = [&near, &far].map(|rows| DenseVectors::new(rows, DIM).unwrap());
    let params = EvaluationParams::default().metric(Metric::L2);
    let [a, b] = [&near, &far].map(|x| {
        let model = fit(x, self::params(Metric::L2).epochs(2)).model;
        let reductions = [("model", Reduction::Model(&model))];
        let found = evaluate(&ctx(), &EvaluationData::new(x), &reductions, &params).unwrap();
        assert!(found.unseen);
        found
    });
    assert_eq!(a.methods.len(), b.methods.len());
    for (a, b) in a.methods.iter().zip(&b.methods) {
        let gap = (a.recall.value - b.recall.value).abs();
        assert!(gap < 0.02, "{}: {} near, {} far", a.name, a.recall.value, b.recall.value);
    }
    let [a, b] = [&near, &far].map(|x| advise(&ctx(), x, Goal::Keep(0.7), &params).unwrap());
    let [a, b] = [a, b].map(|advice| advice.pca_n_components.unwrap());
    assert!(a.abs_diff(b) <= 1, "{a} near, {b} far");
}

#[test]
fn files_of_f64_far_from_the_origin_lose_nothing() {
    let far: Vec<f64> = rows(7).iter().map(|v| v + 1e8).collect();
    let x = DenseVectors::new(&far, DIM).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({ROWS}, {DIM}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend_from_slice(format!("{header:<117}\n").as_bytes());
    bytes.extend(far.iter().flat_map(|v| v.to_le_bytes()));
    let path = folder.path().join("x.npy");
    std::fs::write(&path, bytes).unwrap();
    let given = || params(Metric::L2).epochs(2);
    let saved = |name: &str, x: &dyn Vectors| {
        let fit = fit(x, given());
        let path = folder.path().join(name);
        fit.model.save(&path).unwrap();
        let z = fit.model.transform(&ctx(), x, false).unwrap();
        (std::fs::read(path).unwrap(), z)
    };
    let want = saved("dense", &x);
    // In memory, and where they lie.
    for memory in [1 << 30, 0] {
        let source = VectorSource::open(&path).unwrap();
        let file = FileVectors::load(&ctx(), source, memory).unwrap();
        assert!((file.n_held_bytes() > 0) == (memory > 0));
        let got = saved("file", &file);
        assert!(got.0 == want.0, "another model with {memory} bytes of memory");
        assert_eq!(got.1, want.1);
    }
    // A block after the other.
    let model = Model::load(folder.path().join("file")).unwrap();
    let source = VectorSource::open(&path).unwrap();
    let out = folder.path().join("z.npy");
    model.transform_file(&ctx(), &source, &out, &TransformOptions::default()).unwrap();
    let z = FileVectors::open(out).unwrap();
    assert_eq!(z.as_f32(), Some(want.1.as_slice()));
}

#[test]
fn inner_products_are_kept_under_ip_and_not_directions() {
    // Lengths decide who is near.
    let data = rows(5);
    let long: Vec<f64> = data
        .chunks_exact(DIM)
        .enumerate()
        .flat_map(|(i, row)| row.iter().map(move |v| (v + 0.3) * (1.0 + (i % 7) as f64)))
        .collect();
    let x = DenseVectors::new(&long, DIM).unwrap();
    let recall = |metric| kept(&long, Metric::Ip, &fit(&x, params(metric)), &x);
    let (ip, cosine) = (recall(Metric::Ip), recall(Metric::Cosine));
    assert!(ip > cosine + 0.02, "{ip} with ip, {cosine} with cosine");
}

#[test]
fn dead_axes_are_never_amplified() {
    // 10 live columns of 24, and all rows far from the origin.
    let mut data = rows(9);
    for row in data.chunks_exact_mut(DIM) {
        row[10..].fill(3.0);
    }
    let x = DenseVectors::new(&data, DIM).unwrap();
    for metric in [Metric::L2, Metric::Cosine, Metric::Ip] {
        for n_components in [10, 12, 24] {
            for (name, params) in [
                ("trained", params(metric)),
                ("whitened", params(metric).whiten(1.0).epochs(1)),
                ("started", params(metric).init(Init::Pca).pca_power(1.0).epochs(1)),
                ("pca", Params::builder().metric(metric).solver(Solver::Pca)),
            ] {
                let fit = fit(&x, params.n_components(n_components));
                let (weight, _) = fit.model.linear_map().map(|m| (m.weight().clone(), ())).unwrap();
                let largest = |columns: std::ops::Range<usize>| {
                    let of = |row: &[f32]| {
                        row[columns.clone()].iter().fold(0.0, |m: f32, v| m.max(v.abs()))
                    };
                    weight.as_slice().chunks_exact(DIM).map(of).fold(0.0, f32::max)
                };
                // Under l2 nothing can be said along dead axes; else their constant has a direction.
                if metric == Metric::L2 && name != "pca" {
                    let (dead, live) = (largest(10..DIM), largest(0..10));
                    assert!(
                        dead <= 2.0 * live,
                        "{name}, {metric}, d = {n_components}: {dead} {live}"
                    );
                }
                let recall = kept(&data, metric, &fit, &x);
                // About the origin the constant is one axis more.
                let keeps_all = metric == Metric::L2 || n_components > 10;
                if keeps_all && (name == "trained" || name == "pca") {
                    assert!(recall > 0.97, "{name}, {metric}, d = {n_components}: {recall}");
                }
            }
        }
    }
}

/// How much of a unit axis lies in the span of a map's orthonormal rows.
fn spans(map: &LinearMap, axis: &[f64]) -> f64 {
    let dim = axis.len();
    map.weight()
        .as_slice()
        .chunks_exact(dim)
        .map(|row| row.iter().zip(axis).map(|(&w, a)| f64::from(w) * a).sum::<f64>().powi(2))
        .sum()
}

#[test]
fn small_axes_are_found_beside_a_large_one() {
    // Axes of sizes 1, 1/2, 1/3, …, and two groups of rows 1000 apart along a mixture of columns.
    let mut data = rows(11);
    let across: Vec<f64> = (0..DIM).map(|j| if j % 2 == 0 { 0.5 } else { -0.25 }).collect();
    for (i, row) in data.chunks_exact_mut(DIM).enumerate() {
        for (j, v) in row.iter_mut().enumerate() {
            *v /= 1.0 + j as f64;
            *v += if i % 2 == 0 { 1000.0 } else { -1000.0 } * across[j];
        }
    }
    let x = DenseVectors::new(&data, DIM).unwrap();
    let map = Pca::fit(&ctx(), &x).unwrap().unwrap().projection(5, 0.0).unwrap();
    // The first axis is across; the first column less its part along that is in the span too.
    let length = across.iter().map(|a| a * a).sum::<f64>().sqrt();
    let unit: Vec<f64> = across.iter().map(|a| a / length).collect();
    assert!(spans(&map, &unit) > 0.9999);
    let mut first = vec![0.0; DIM];
    first[0] = 1.0;
    first.iter_mut().zip(&unit).for_each(|(f, u)| *f -= unit[0] * u);
    let size = first.iter().map(|f| f * f).sum::<f64>().sqrt();
    first.iter_mut().for_each(|f| *f /= size);
    assert!(spans(&map, &first) > 0.9, "{}", spans(&map, &first));
}
