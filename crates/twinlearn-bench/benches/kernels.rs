//! Products, searches, reductions and steps of training, of one size each. All on two threads.

#![allow(missing_docs, reason = "what criterion's macros make has none")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use twinlearn::{
    Context, FitData, KnnMethod, KnnParams, LinearMap, Matrix, Metric, Params, Pca, Solver,
    Trainer, knn_graph, knn_search,
};
use twinlearn_core::linalg::{Effort, gram, leading_eigen, matmul};

const DIM: usize = 384;

/// Clustered rows, with axes of falling size, as embeddings have.
fn rows(n: usize, seed: u64) -> Matrix {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let centres: Vec<f32> = (0..100 * DIM).map(|_| uniform()).collect();
    let mut data = Vec::with_capacity(n * DIM);
    for i in 0..n {
        let centre = &centres[i % 100 * DIM..][..DIM];
        let row = centre.iter().enumerate();
        data.extend(row.map(|(j, c)| (c + uniform()) / (1.0 + j as f32).sqrt()));
    }
    Matrix::new(n, DIM, data).unwrap()
}

fn context() -> Context {
    Context::with_threads(2).unwrap()
}

fn products(c: &mut Criterion) {
    let ctx = context();
    let mut group = c.benchmark_group("products");
    let (x, w) = (rows(4096, 1), rows(64, 2));
    let mut out = Matrix::zeros(4096, 64);
    group.throughput(Throughput::Elements((4096 * DIM * 64) as u64));
    group.bench_function("f32 4096 x 384 x 64", |b| {
        b.iter(|| matmul(&ctx, 1.0, x.view(), w.view().t(), 0.0, out.view_mut()));
    });
    let wide: Vec<f64> = x.as_slice().iter().map(|&v| v.into()).collect();
    let wide = Matrix::new(4096, DIM, wide).unwrap();
    let mut moments = Matrix::<f64>::zeros(DIM, DIM);
    group.throughput(Throughput::Elements((4096 * DIM * DIM / 2) as u64));
    group.bench_function("f64 gram of 4096 x 384", |b| {
        b.iter(|| gram(&ctx, wide.view().t(), 0.0, moments.view_mut()));
    });
    group.finish();
    c.bench_function("64 leading axes of 384 x 384", |b| {
        b.iter(|| leading_eigen(&ctx, moments.clone(), 64, None, Effort::EXACT));
    });
}

fn searches(c: &mut Criterion) {
    let ctx = context();
    let x = rows(6000, 3);
    let q = rows(500, 4);
    let mut group = c.benchmark_group("neighbours");
    group.sample_size(10);
    for method in [KnnMethod::Exact, KnnMethod::Descent, KnnMethod::Pq] {
        for metric in [Metric::Cosine, Metric::L2] {
            let params = KnnParams::new(10).metric(metric).method(method);
            group.bench_function(format!("{method} {metric} among 6000 x 384"), |b| {
                b.iter(|| black_box(knn_graph(&ctx, &x, &params)));
            });
        }
    }
    let params = KnnParams::new(10);
    group.bench_function("of 500 queries among 6000 x 384", |b| {
        b.iter(|| black_box(knn_search(&ctx, &q, &x, &params)));
    });
    group.finish();
}

fn reductions(c: &mut Criterion) {
    let ctx = context();
    let x = rows(6000, 5);
    let map = LinearMap::random_projection(DIM, 64, 0).unwrap();
    let one = rows(1, 6);
    c.bench_function("6000 rows 384 -> 64", |b| b.iter(|| black_box(map.transform(&ctx, &x))));
    c.bench_function("one row 384 -> 64", |b| b.iter(|| black_box(map.transform(&ctx, &one))));
    let mut group = c.benchmark_group("fits of 6000 x 384");
    group.sample_size(10);
    group.bench_function("PCA", |b| b.iter(|| black_box(Pca::fit(&ctx, &x))));
    let graph = knn_graph(&ctx, &x, &KnnParams::new(64)).unwrap();
    for (name, params) in [
        ("loss KL, one epoch, graph given", Params::builder().epochs(1).tau(0.1)),
        ("solver pca", Params::builder().solver(Solver::Pca)),
    ] {
        let params = params.n_components(64).build().unwrap();
        let has_graph = params.solver != Solver::Pca;
        let trainer = Trainer::new(params);
        group.bench_function(name, |b| {
            b.iter(|| {
                let data = FitData::new(&x);
                let data = if has_graph { data.graph(graph.clone()) } else { data };
                black_box(trainer.fit_data(&ctx, data))
            });
        });
    }
    group.finish();
}

criterion_group!(kernels, products, searches, reductions);
criterion_main!(kernels);
