//! The search by bytes beside that of floats, which knows nothing of it: the same rows in the same order.

use twinlearn_core::context::Context;
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::{Metric, search_of_checked};
use twinlearn_vectors::DenseVectors;

use crate::codec::Codec;
use crate::decoded::Decoded;
use crate::kernels::Kernel;
use crate::product::ProductCode;
use crate::scalar::{RowMoments, ScalarCode};
use crate::scan::search;
use crate::spec::Bits;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Ip, Metric::L2];

fn ctx() -> Context {
    Context::with_threads(2).unwrap()
}

/// Clusters of rows, `offset` from the origin and `size` large; every seventh row is that before it.
fn rows(n: usize, dim: usize, (size, offset): (f32, f32)) -> Matrix {
    let value = |i: usize| {
        let (row, column) = (i / dim - usize::from(i / dim % 7 == 6), i % dim);
        let cluster = ((row % 5 * 31 + column * 17) as f32 * 0.37).sin();
        let own = ((row * dim + column).pow(2) % 9973) as f32 * 0.61;
        size * (offset + cluster + 0.6 * own.sin() * (1 + row % 3) as f32)
    };
    Matrix::new(n, dim, (0..n * dim).map(value).collect()).unwrap()
}

fn codecs(metric: Metric, x: &Matrix) -> Vec<Codec> {
    let moments = RowMoments::of(metric, x.as_slice(), x.cols());
    let scalar = |bits: &Bits| ScalarCode::new(metric, *bits, moments.clone()).unwrap();
    let mut all: Vec<Codec> = Bits::ALL.iter().map(scalar).map(Codec::Scalar).collect();
    let bytes = x.cols().div_ceil(4);
    all.push(Codec::Product(ProductCode::train(&ctx(), metric, x, bytes, 1).unwrap()));
    all
}

/// What both searches find, by this processor's way and by the portable one.
fn compared(codec: &Codec, x: &Matrix, queries: &Matrix, k: usize) {
    let bytes = codec.encode(&ctx(), x).unwrap();
    let codes = DenseVectors::new(&bytes, codec.row_bytes()).unwrap();
    let queries = codec.turned(queries).unwrap();
    let base = Decoded::new(codec, &codes).unwrap();
    let want = search_of_checked(&ctx(), &queries, &base, k, codec.metric()).unwrap();
    for kernel in [Some(Kernel::Portable), Kernel::of_this_processor()].into_iter().flatten() {
        for threads in [1, 2, 3, 4] {
            let ctx = Context::with_threads(threads).unwrap();
            for ctx in [ctx.clone(), ctx.memory(threads * (1 << 20))] {
                let found = search(&ctx, kernel, (codec, &codes), &queries, k).unwrap();
                let (n, dim) = (x.rows(), x.cols());
                let what = format!("{} {} {n} x {dim}, {k}", codec.metric(), codec.spec());
                assert!(found == want, "{what}, {kernel:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn searches_find_the_same() {
    for metric in METRICS {
        for (n, dim, scale) in [
            (1, 5, (1.0, 0.1)),
            (300, 3, (1.0, 0.0)),
            (1000, 30, (1.0, 0.1)),
            (700, 64, (1e-9, 3.0)),
            (600, 17, (1e9, 30.0)),
        ] {
            let (x, queries) = (rows(n, dim, scale), rows(19, dim, (scale.0, 0.4)));
            for codec in codecs(metric, &x) {
                for k in [1, 7, 120] {
                    if k <= n {
                        compared(&codec, &x, &queries, k);
                    }
                }
            }
        }
    }
}

/// Queries of zeros and of any length, and rows that are all equal: every row is as near as the others.
#[test]
fn rows_as_near_are_found_by_their_numbers() {
    let (x, dim) = (Matrix::new(900, 8, vec![0.5; 900 * 8]).unwrap(), 8);
    let queries = |most: f32| {
        let mut queries = rows(8, dim, (1.0, 0.0));
        for (i, query) in queries.as_mut_slice().chunks_exact_mut(dim).enumerate() {
            let size = [0.0_f32, 1e-20, 1e-5, 1.0, 1e3, 1e5, 1e14, 1e18][i].min(most);
            query.iter_mut().for_each(|v| *v *= size);
        }
        queries
    };
    for metric in METRICS {
        // Beyond this squared distances of f64 do not tell rows apart.
        let queries = queries(if metric == Metric::L2 { 1e5 } else { 1e18 });
        for x in [&x, &rows(900, dim, (1.0, 0.2))] {
            for codec in codecs(metric, x) {
                compared(&codec, x, &queries, 20);
            }
        }
    }
}
