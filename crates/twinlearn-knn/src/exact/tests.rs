//! Against brute force in `f64`.

use half::f16;
use proptest::prelude::*;
use rand::Rng;
use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Matrix;
use twinlearn_core::random::{Purpose, generator};
use twinlearn_vectors::{DenseVectors, Vectors};

use super::near::near;
use super::plan::{choose, choose_within};
use super::{GraphSearch, Options, Problem, Searched};
use crate::Metric;
use crate::frame::row_norms;

/// The search with axes considered however small the set.
fn graph(ctx: &Context, x: &dyn Vectors, k: usize, metric: Metric) -> Result<Vec<u32>> {
    let norms = row_norms(ctx, x)?;
    let problem = Problem { x, norms: &norms, queries: None, k, metric, reserved: 0 };
    let (frame, plan) = choose_within(ctx, &problem, f64::INFINITY)?;
    GraphSearch { ctx, x, norms, frame, plan }.run(k)
}

fn search(
    ctx: &Context,
    queries: &dyn Vectors,
    base: &dyn Vectors,
    k: usize,
    metric: Metric,
) -> Result<Vec<u32>> {
    super::search(ctx, queries, base, k, metric, Options::default())
}

/// An eigenproblem of 2048 numbers takes a hundred times as long as all pairs of 1400 rows.
#[test]
fn axes_are_not_looked_for_where_they_cannot_pay() {
    let ctx = Context::with_threads(1).unwrap();
    let levels = |n: usize, dim: usize| {
        let x = noise(n, dim, 1);
        let norms = row_norms(&ctx, &x).unwrap();
        let problem =
            Problem { x: &x, norms: &norms, queries: None, k: 10, metric: Metric::L2, reserved: 0 };
        choose(&ctx, &problem).unwrap().1.levels
    };
    assert_eq!(levels(1400, 2048), [2048]);
    assert_eq!(levels(300, 5000), [5000]);
}

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Ip, Metric::L2];

/// Uniform in −0.4..0.6.
fn noise(n: usize, dim: usize, seed: u64) -> Matrix {
    let mut rng = generator(seed, Purpose::Init, 0);
    let data = (0..n * dim).map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.4).collect();
    Matrix::new(n, dim, data).unwrap()
}

/// Points of few effective dimensions around some centres, as embeddings are, so that the search
/// uses axes.
fn clustered(n: usize, dim: usize, seed: u64) -> Matrix {
    let latent = noise(n, 6, seed);
    let centres = noise(9, dim, seed + 1);
    let mixing = noise(6, dim, seed + 2);
    let rest = noise(n, dim, seed + 3);
    let data = (0..n)
        .flat_map(|i| {
            let (latent, centres, mixing, rest) = (&latent, &centres, &mixing, &rest);
            (0..dim).map(move |j| {
                let mixed: f32 = (0..6).map(|l| latent.row(i)[l] * mixing.row(l)[j]).sum();
                3.0 * centres.row(i % 9)[j] + mixed + 0.05 * rest.row(i)[j]
            })
        })
        .collect();
    Matrix::new(n, dim, data).unwrap()
}

fn brute_force(q: &Matrix, x: &Matrix, k: usize, metric: Metric, same: bool) -> Vec<u32> {
    (0..q.rows())
        .flat_map(|i| {
            let mut all: Vec<_> = (0..x.rows())
                .filter(|&j| !same || j != i)
                .map(|j| (metric.distance(q.row(i), x.row(j)), j as u32))
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            all.into_iter().take(k).map(|(_, j)| j)
        })
        .collect()
}

fn check(x: &Matrix, k: usize, metrics: &[Metric]) {
    for &metric in metrics {
        let want = brute_force(x, x, k, metric, true);
        for threads in [1, 3] {
            let ctx = Context::with_threads(threads).unwrap();
            let got = graph(&ctx, x, k, metric).unwrap();
            for (i, (got, want)) in got.chunks(k).zip(want.chunks(k)).enumerate() {
                assert_eq!(got, want, "row {i} under {metric}, {threads} threads");
            }
        }
    }
}

#[test]
fn large_sets_with_and_without_axes() {
    check(&clustered(3100, 90, 1), 7, &METRICS);
    check(&noise(2500, 40, 2), 5, &METRICS);
}

#[test]
fn rows_far_from_the_origin() {
    let mut x = clustered(1500, 64, 4);
    x.as_mut_slice().iter_mut().for_each(|v| *v += 300.0);
    check(&x, 6, &METRICS);
}

#[test]
fn duplicates_are_neighbours_and_self_is_not() {
    // Every row seven times, in a large set and in one smaller than a tile.
    for (n, dim) in [(1400, 70), (70, 3)] {
        let some = clustered(n / 7, dim, 5);
        let data = (0..n).flat_map(|i| some.row(i % (n / 7)).to_vec()).collect();
        check(&Matrix::new(n, dim, data).unwrap(), 9, &METRICS);
    }
    let x = Matrix::new(4, 2, vec![3.0, 4.0, 3.0, 4.0, 3.0, 4.0, -1.0, 0.0]).unwrap();
    for metric in METRICS {
        let ctx = Context::with_threads(2).unwrap();
        let ids = graph(&ctx, &x, 2, metric).unwrap();
        assert_eq!(ids, [1, 2, 0, 2, 0, 1, 0, 1], "{metric}");
    }
}

#[test]
fn all_rows_equal() {
    check(&Matrix::new(900, 5, vec![0.7; 900 * 5]).unwrap(), 4, &METRICS);
    check(&Matrix::new(600, 3, vec![0.0; 1800]).unwrap(), 4, &[Metric::Ip, Metric::L2]);
}

#[test]
fn every_other_row_is_asked_for() {
    check(&noise(700, 9, 6), 699, &METRICS);
    check(&noise(2, 3, 7), 1, &METRICS);
}

#[test]
fn lengths_of_every_size() {
    // From the smallest to the largest that f32 holds, within one set and one after the other.
    let base = clustered(700, 20, 8);
    for exponents in [[-140, -140], [120, 120], [-40, 40], [-140, 120]] {
        let mut x = base.clone();
        for i in 0..700 {
            let exponent = exponents[i % 2] + (i % 5) as i32;
            let scale = 2f64.powi(exponent);
            let row = &mut x.as_mut_slice()[i * 20..(i + 1) * 20];
            row.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
        }
        check(&x, 5, &METRICS);
    }
}

#[test]
fn zero_rows_among_others() {
    let mut x = clustered(800, 30, 9);
    for i in (0..800).step_by(37) {
        x.as_mut_slice()[i * 30..(i + 1) * 30].fill(0.0);
    }
    check(&x, 5, &METRICS);
}

#[test]
fn queries_equal_brute_force_whatever_the_memory() {
    let (x, q) = (clustered(3000, 90, 10), clustered(1100, 90, 11));
    for metric in METRICS {
        for (k, memory) in [(6, 1 << 40), (6, 10_000_000), (3000, 1 << 40)] {
            let q = Matrix::new(200, 90, q.as_slice()[..200 * 90].to_vec()).unwrap();
            let ctx = Context::with_threads(2).unwrap().memory(memory);
            let got = search(&ctx, &q, &x, k, metric).unwrap();
            assert_eq!(got, brute_force(&q, &x, k, metric, false), "{metric} {k} {memory}");
        }
        let ctx = Context::with_threads(2).unwrap();
        let got = search(&ctx, &q, &x, 10, metric).unwrap();
        assert_eq!(got, brute_force(&q, &x, 10, metric, false), "{metric}");
    }
}

/// The search of the clusters near each query, with axes considered however small the sets.
fn near_to(
    ctx: &Context,
    (q, x): (&Matrix, &Matrix),
    k: usize,
    metric: Metric,
    most: f64,
) -> Result<Option<Vec<u32>>> {
    near(ctx, Searched::within(ctx, q, x, (k, metric), 0, f64::INFINITY)?, k, most)
}

fn share_of(found: &[u32], want: &[u32], k: usize) -> f64 {
    let lists = found.chunks(k).zip(want.chunks(k));
    let kept: usize =
        lists.map(|(found, want)| found.iter().filter(|&id| want.contains(id)).count()).sum();
    kept as f64 / want.len() as f64
}

/// Rows of very different length: under ip all are nearest to the longest.
fn of_all_lengths(n: usize, seed: u64) -> Matrix {
    let mut x = clustered(n, 24, seed);
    for (i, row) in x.as_mut_slice().chunks_exact_mut(24).enumerate() {
        row.iter_mut().for_each(|v| *v *= ((i * 7919 % 1000) as f32 / 250.0).exp());
    }
    x
}

#[test]
fn clusters_near_a_query_hold_nearly_all_its_neighbours() {
    let sets = [
        (clustered(700, 90, 20), clustered(6000, 90, 20)),
        (clustered(700, 5, 20), clustered(6000, 5, 20)),
        (noise(700, 12, 21), noise(6000, 12, 20)),
        (of_all_lengths(700, 22), of_all_lengths(6000, 22)),
    ];
    let k = 8;
    for (q, x) in &sets {
        for metric in METRICS {
            let want = brute_force(q, x, k, metric, false);
            let find = |threads, memory| {
                let ctx = Context::with_threads(threads).unwrap().memory(memory);
                near_to(&ctx, (q, x), k, metric, f64::INFINITY).map(Option::unwrap)
            };
            let found = find(2, 1 << 40).unwrap();
            let share = share_of(&found, &want, k);
            assert!(share > 0.93, "{metric} {}: {share}", x.cols());
            // Whatever the threads and the memory: with the least not all queries visit at once.
            assert!(found == find(1, 1 << 40).unwrap(), "{metric} {}", x.cols());
            for threads in [1, 2] {
                let least = (1_000_000..).step_by(40_000).find_map(|m| find(threads, m).ok());
                assert!(found == least.unwrap(), "{metric} {}", x.cols());
            }
        }
    }
    // With few pairs the clusters of noise hold too little; half of all rows are enough.
    let (ctx, (q, x)) = (Context::with_threads(2).unwrap(), (&sets[2].0, &sets[2].1));
    assert!(near_to(&ctx, (q, x), k, Metric::L2, 1.0).unwrap().is_none());
    let found = near_to(&ctx, (q, x), k, Metric::L2, 0.7 * 700.0 * 6000.0).unwrap().unwrap();
    let share = share_of(&found, &brute_force(q, x, k, Metric::L2, false), k);
    assert!(share > 0.75 && share < 1.0, "{share}");
    for (i, list) in found.chunks(k).enumerate() {
        let distances = list.iter().map(|&j| Metric::L2.distance(q.row(i), x.row(j as usize)));
        let pairs: Vec<_> = distances.zip(list).collect();
        assert!(pairs.is_sorted_by(|a, b| a < b), "each once, best first: {pairs:?}");
    }
}

#[test]
fn equal_rows_and_clusters_of_few() {
    // Nearly all rows are one, so that most clusters have none or few of the others.
    let some = clustered(40, 12, 30);
    let data = (0..4000).flat_map(|i| some.row(usize::saturating_sub(i, 3960)).to_vec());
    let x = Matrix::new(4000, 12, data.collect()).unwrap();
    let q = Matrix::new(60, 12, x.as_slice()[3940 * 12..].to_vec()).unwrap();
    let ctx = Context::with_threads(2).unwrap();
    let (k, most) = (30, f64::INFINITY);
    for metric in METRICS {
        let kept = super::distinct::distinct(&ctx, &x, k).unwrap().unwrap();
        assert_eq!(kept, (0..30).chain(3961..4000).collect::<Vec<u32>>());
        let want = brute_force(&q, &x, k, metric, false);
        assert_eq!(super::near::search(&ctx, &q, &x, (k, metric), most).unwrap().unwrap(), want);
        let found = near_to(&ctx, (&q, &x), k, metric, most).unwrap().unwrap();
        assert!(share_of(&found, &want, k) > 0.9, "{metric}");
        for list in found.chunks(k) {
            let mut ids = list.to_vec();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), k, "{metric}: each row once");
        }
    }
    assert!(super::distinct::distinct(&ctx, &x, 3961).unwrap().is_none());
}

#[test]
fn too_little_memory_is_refused() {
    let ctx = Context::with_threads(2).unwrap().memory(1000);
    let message = graph(&ctx, &noise(600, 8, 1), 3, Metric::L2).unwrap_err().to_string();
    assert!(message.starts_with("memory: expected at least "), "{message}");
    assert!(message.ends_with(" for this search beside the vectors, got 0.0 MB"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn small_sets_of_every_shape(
        n in 2usize..80,
        dim in 1usize..12,
        share in 0.0f64..1.0,
        levels in 1u32..6,
        seed in 0u64..1000,
    ) {
        // Few different values: ties everywhere, exact in f16 too.
        let x = noise(n, dim, seed);
        let round = |v: &f32| (v * levels as f32).round() + 0.5;
        let x = Matrix::new(n, dim, x.as_slice().iter().map(round).collect()).unwrap();
        let half: Vec<f16> = x.as_slice().iter().map(|&v| f16::from_f32(v)).collect();
        let half = DenseVectors::new(&half, dim).unwrap();
        let k = 1 + ((n - 2) as f64 * share) as usize;
        let ctx = Context::with_threads(2).unwrap();
        for metric in METRICS {
            let want = brute_force(&x, &x, k, metric, true);
            for rows in [&x as &dyn Vectors, &half] {
                let got = graph(&ctx, rows, k, metric).unwrap();
                prop_assert_eq!(&got, &want, "{}", metric);
            }
        }
    }
}
