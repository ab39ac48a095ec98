//! Neighbour search as users call it: approximate methods against the exact one.

use half::f16;
use twinlearn_core::Context;
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::{
    KnnApproximation, KnnGraph, KnnMethod, KnnParams, Metric, knn_graph, knn_search, recall_at_k,
};
use twinlearn_vectors::{DenseVectors, FileVectors, Vectors};

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Ip, Metric::L2];

/// 4000 sentence embeddings of dimension 384.
fn real() -> FileVectors {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    FileVectors::open(root.join("../../data/train_x.npy")).unwrap()
}

fn context() -> Context {
    Context::with_threads(2).unwrap()
}

fn waves(n: usize, dim: usize) -> Matrix {
    let value = |i: usize| ((i * i % 7919) as f32 * 0.61).sin() + (i % dim) as f32 * 0.02 + 1.5;
    Matrix::new(n, dim, (0..n * dim).map(value).collect()).unwrap()
}

/// Every row has `k` different others.
fn check_lists(graph: &KnnGraph, k: usize) {
    for i in 0..graph.n_rows() {
        let mut ids = graph.neighbors(i).to_vec();
        assert_eq!(ids.len(), k);
        assert!(!ids.contains(&(i as u32)), "row {i} is not its own neighbour");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), k, "row {i} has a neighbour twice");
    }
}

#[test]
fn descent_finds_nearly_all() {
    let (x, ctx) = (real(), context());
    for (metric, k, least) in [
        (Metric::Cosine, 10, 0.97),
        (Metric::L2, 10, 0.97),
        (Metric::Ip, 3, 0.97),
        (Metric::L2, 60, 0.97),
    ] {
        let params = KnnParams::new(k).metric(metric);
        let exact = knn_graph(&ctx, &x, &params.method(KnnMethod::Exact)).unwrap();
        let found = knn_graph(&ctx, &x, &params.method(KnnMethod::Descent)).unwrap();
        check_lists(&found, k);
        let recall = recall_at_k(exact.ids(), found.ids(), k).unwrap();
        assert!(recall > least, "{metric}, k = {k}: recall {recall}");
        // What is found is in the order of the exact distances.
        let mut rows = vec![0.0; x.n_rows() * x.dim()];
        x.read_rows(0, &mut rows).unwrap();
        let row = |i: u32| &rows[i as usize * 384..][..384];
        for i in (0..4000).step_by(131) {
            let distances =
                found.neighbors(i as usize).iter().map(|&j| metric.distance(row(i), row(j)));
            assert!(distances.is_sorted(), "row {i} under {metric}");
        }
    }
}

/// Numbers from −1 to 1, the same for every run.
fn noise(n: usize, dim: usize, seed: u64) -> Matrix {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    Matrix::new(n, dim, (0..n * dim).map(|_| next()).collect()).unwrap()
}

/// Rows about as many centres, at this share of what these spread by.
fn clusters(n: usize, dim: usize, count: usize, spread: f32) -> Matrix {
    let (centres, own) = (noise(count, dim, 1), noise(n, dim, 2));
    let value = |i: usize| {
        let (row, j) = (i / dim, i % dim);
        centres.row(row % count)[j] + spread * own.row(row)[j]
    };
    Matrix::new(n, dim, (0..n * dim).map(value).collect()).unwrap()
}

/// What rounding to bf16 drowns: what is near in a tight cluster, or among many rows in few dimensions.
#[test]
fn descent_tells_near_rows_apart() {
    let ctx = context();
    let offset = {
        let mut x = clusters(6000, 2, 40, 0.001);
        x.as_mut_slice().iter_mut().for_each(|v| *v = 60.0 + 180.0 * *v);
        x
    };
    let mut twice = clusters(3000, 24, 10, 0.01);
    twice.as_mut_slice().copy_within(0..1500 * 24, 1500 * 24);
    for (name, x, metric) in [
        ("clusters of 10 %", clusters(6000, 16, 24, 0.1), Metric::L2),
        ("clusters of 1 %", clusters(6000, 16, 24, 0.01), Metric::L2),
        ("clusters of .1 %", clusters(6000, 16, 24, 0.001), Metric::L2),
        ("wide clusters", clusters(3000, 400, 30, 0.02), Metric::Cosine),
        ("clusters by product", clusters(6000, 16, 24, 0.01), Metric::Ip),
        ("cities", offset, Metric::L2),
        ("a square", noise(8000, 2, 3), Metric::L2),
        ("every row twice", twice, Metric::L2),
    ] {
        let params = KnnParams::new(10).metric(metric);
        let exact = knn_graph(&ctx, &x, &params.method(KnnMethod::Exact)).unwrap();
        let found = knn_graph(&ctx, &x, &params.method(KnnMethod::Descent)).unwrap();
        check_lists(&found, 10);
        // Rows as near as the last are as good.
        let near = |i: usize| {
            let of = |j: u32| metric.distance(x.row(i), x.row(j as usize));
            let farthest = of(exact.neighbors(i)[9]);
            found.neighbors(i).iter().filter(|&&j| of(j) <= farthest).count()
        };
        let recall = (0..x.rows()).map(near).sum::<usize>() as f64 / (10 * x.rows()) as f64;
        assert!(recall > 0.95, "{name}: recall {recall}");
    }
}

#[test]
fn approximate_methods_give_the_same_bits_at_any_number_of_threads() {
    let x = real();
    for method in [KnnMethod::Descent, KnnMethod::Pq] {
        let run = |threads, seed| {
            let ctx = Context::with_threads(threads).unwrap();
            knn_graph(&ctx, &x, &KnnParams::new(7).method(method).seed(seed)).unwrap()
        };
        let first = run(1, 5);
        assert!([2, 3, 4].into_iter().all(|threads| run(threads, 5) == first), "{method}");
        assert!(run(2, 6) != first, "{method}: the seed matters");
    }
}

#[test]
fn approximate_methods_take_sets_of_every_shape() {
    let ctx = context();
    for method in [KnnMethod::Descent, KnnMethod::Pq] {
        for metric in METRICS {
            let params = |k| KnnParams::new(k).metric(metric).method(method);
            for (n, dim, k) in [(2, 1, 1), (3, 5, 2), (260, 1, 4), (700, 3, 9), (500, 40, 499)] {
                let x = waves(n, dim);
                check_lists(&knn_graph(&ctx, &x, &params(k)).unwrap(), k);
            }
            let equal = Matrix::new(800, 6, vec![0.5; 4800]).unwrap();
            check_lists(&knn_graph(&ctx, &equal, &params(5)).unwrap(), 5);
            // Half-precision input is what it widens to.
            let half: Vec<f16> =
                waves(600, 33).as_slice().iter().map(|&v| f16::from_f32(v)).collect();
            let wide = half.iter().map(|v| v.to_f32()).collect();
            let half = knn_graph(&ctx, &DenseVectors::new(&half, 33).unwrap(), &params(5)).unwrap();
            let wide = knn_graph(&ctx, &Matrix::new(600, 33, wide).unwrap(), &params(5)).unwrap();
            assert!(half == wide, "{method} {metric}");
        }
    }
}

#[test]
fn few_rows_are_searched_whole_by_descent_too() {
    let ctx = context();
    // Rows of every size, and clusters that are smaller than lists.
    let powers = (0..480).map(|i| 2_f32.powi(i / 4 - 60)).collect();
    let powers = Matrix::new(120, 4, powers).unwrap();
    for (k, x) in [(199, waves(200, 12)), (10, powers), (10, clusters(2000, 64, 500, 0.001))] {
        for metric in METRICS {
            let params = KnnParams::new(k).metric(metric);
            let exact = knn_graph(&ctx, &x, &params.method(KnnMethod::Exact)).unwrap();
            let found = knn_graph(&ctx, &x, &params.method(KnnMethod::Descent)).unwrap();
            assert!(exact == found, "{metric}");
        }
    }
}

#[test]
fn more_bytes_find_more() {
    let (x, ctx) = (real(), context());
    for metric in METRICS {
        let params = KnnParams::new(10).metric(metric);
        let exact = knn_graph(&ctx, &x, &params).unwrap();
        let levels = [KnnApproximation::High, KnnApproximation::Medium, KnnApproximation::Low];
        let recalls = levels.map(|level| {
            // A level alone means product quantisation.
            let found = knn_graph(&ctx, &x, &params.approximation(Some(level))).unwrap();
            check_lists(&found, 10);
            recall_at_k(exact.ids(), found.ids(), 10).unwrap()
        });
        assert!(recalls.is_sorted_by(|a, b| a + 0.05 < *b), "{metric}: {recalls:?}");
        assert!(recalls[0] > 0.25 && recalls[2] > 0.6, "{metric}: {recalls:?}");
        let medium = knn_graph(&ctx, &x, &params.method(KnnMethod::Pq)).unwrap();
        assert_eq!(recall_at_k(exact.ids(), medium.ids(), 10).unwrap(), recalls[1]);
    }
}

#[test]
fn auto_is_exact_for_small_sets() {
    let (x, ctx) = (real(), context());
    let graph = |method| knn_graph(&ctx, &x, &KnnParams::new(5).method(method)).unwrap();
    assert!(graph(KnnMethod::Auto) == graph(KnnMethod::Exact));
}

#[test]
fn memory_is_bounded_or_refused() {
    let x = real();
    let run = |method, bytes| {
        let ctx = context().memory(bytes);
        knn_graph(&ctx, &x, &KnnParams::new(10).method(method))
    };
    let exact = run(KnnMethod::Exact, usize::MAX).unwrap();
    // The least memory leaves descent fewer axes to score by: worse, but it runs.
    let message = run(KnnMethod::Descent, 1_000_000).unwrap_err().to_string();
    let least = message.split_whitespace().find_map(|word| word.parse::<usize>().ok()).unwrap();
    let found = run(KnnMethod::Descent, least * 1_000_000).unwrap();
    let recall = |graph: &KnnGraph| recall_at_k(exact.ids(), graph.ids(), 10).unwrap();
    let unbounded = recall(&run(KnnMethod::Descent, usize::MAX).unwrap());
    assert!((0.3..unbounded).contains(&recall(&found)), "{} {unbounded}", recall(&found));
    assert!(run(KnnMethod::Exact, 30_000_000).unwrap() == exact);
    for method in [KnnMethod::Exact, KnnMethod::Descent, KnnMethod::Pq] {
        let message = run(method, 1_000_000).unwrap_err().to_string();
        assert!(message.starts_with("memory: expected at least "), "{method}: {message}");
        assert!(
            message.ends_with(" MB for this search beside the vectors, got 1.0 MB"),
            "{method}: {message}"
        );
    }
}

#[test]
fn methods_and_levels_that_do_not_go_together_are_named() {
    let (ctx, x) = (context(), waves(50, 4));
    let params = KnnParams::new(3);
    let level = params.approximation(Some(KnnApproximation::Low));
    for (method, name) in [(KnnMethod::Exact, "exact"), (KnnMethod::Descent, "descent")] {
        let message = knn_graph(&ctx, &x, &level.method(method)).unwrap_err().to_string();
        let want = format!(
            "knn_approximation: expected none with knn_method {name} (it is for pq and auto), \
             got low"
        );
        assert_eq!(message, want);
    }
    for (params, got) in [
        (params.method(KnnMethod::Descent), "descent"),
        (params.method(KnnMethod::Pq), "pq"),
        (level, "low"),
    ] {
        let message = knn_search(&ctx, &x, &x, &params).unwrap_err().to_string();
        let want = format!("knn_method: expected auto or exact for a search of queries, got {got}");
        assert_eq!(message, want);
    }
}

#[test]
fn more_rows_than_numbers_are_refused() {
    struct Huge;
    impl Vectors for Huge {
        fn n_rows(&self) -> usize {
            3_000_000_000
        }
        fn dim(&self) -> usize {
            4
        }
        fn read_rows(&self, _: usize, _: &mut [f32]) -> twinlearn_core::Result<()> {
            panic!("refused before any row is read")
        }
    }
    let message = knn_graph(&context(), &Huge, &KnnParams::new(5)).unwrap_err().to_string();
    assert_eq!(message, "X: expected at most 2147483647 rows, got 3000000000");
}
