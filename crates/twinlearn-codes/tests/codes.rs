//! Codes against their formulas, and search of them against brute force.

use proptest::prelude::*;
use twinlearn_codes::{
    Bits, Codec, Context, Decoded, Matrix, Metric, ProductCode, RowMoments, ScalarCode, Vectors,
    rescore, search_codes,
};
use twinlearn_vectors::DenseVectors;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Ip, Metric::L2];

/// Rows in a few clusters, of different lengths.
fn rows(n: usize, dim: usize, phase: f32) -> Matrix {
    let value = |i: usize| {
        let (row, column) = (i / dim, i % dim);
        let cluster = ((row % 7 * 31 + column * 17) as f32 * 0.37).sin();
        let own = ((i * i % 9973) as f32 * 0.61 + phase).sin();
        (0.5 + cluster + 0.7 * own) * (1.0 + (row % 5) as f32)
    };
    Matrix::new(n, dim, (0..n * dim).map(value).collect()).unwrap()
}

fn unit(rows: &Matrix) -> Matrix {
    let dim = rows.cols();
    let mut out = rows.clone();
    for row in out.as_mut_slice().chunks_exact_mut(dim) {
        let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
    }
    out
}

fn scalar(metric: Metric, bits: usize, x: &Matrix) -> Codec {
    let moments = RowMoments::of(metric, x.as_slice(), x.cols());
    Codec::Scalar(ScalarCode::new(metric, Bits::new(bits as u64).unwrap(), moments).unwrap())
}

fn product(ctx: &Context, metric: Metric, bytes: usize, x: &Matrix) -> Codec {
    Codec::Product(ProductCode::train(ctx, metric, x, bytes, 3).unwrap())
}

/// The mean squared distance of rows (under cosine at length 1) to what their codes stand for.
fn error(codec: &Codec, x: &Matrix) -> f64 {
    let ctx = Context::with_threads(2).unwrap();
    let codes = codec.encode(&ctx, x).unwrap();
    let about = codec.decode(&codes).unwrap();
    let wanted = if codec.metric() == Metric::Cosine { unit(x) } else { x.clone() };
    let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    about.as_slice().iter().zip(wanted.as_slice()).map(square).sum::<f64>() / x.rows() as f64
}

/// Brute force in `f64`: ids by falling score, ties by the smaller id.
fn nearest(metric: Metric, query: &[f32], base: &Matrix, k: usize) -> Vec<(f64, u32)> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let score = |row: &[f32]| match metric {
        Metric::Cosine => dot(query, row) / dot(row, row).sqrt(),
        Metric::Ip => dot(query, row),
        Metric::L2 => dot(query, row) - dot(row, row) / 2.0,
    };
    let mut all: Vec<(f64, u32)> =
        (0..base.rows()).map(|i| (score(base.row(i)), i as u32)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

#[test]
fn more_bits_and_bytes_lose_less() {
    let ctx = Context::with_threads(2).unwrap();
    let x = rows(900, 24, 0.0);
    for metric in METRICS {
        let whole = match metric {
            Metric::Cosine => 1.0,
            _ => x.as_slice().iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / 900.0,
        };
        let scalar = [1, 2, 4, 8].map(|bits| error(&scalar(metric, bits, &x), &x) / whole);
        assert!(scalar.is_sorted_by(|a, b| a > b), "{metric}: {scalar:?}");
        assert!(scalar[1] < 0.16 && scalar[3] < 1e-3, "{metric}: {scalar:?}");
        let product = [2, 6, 12, 24].map(|m| error(&product(&ctx, metric, m, &x), &x) / whole);
        assert!(product.is_sorted_by(|a, b| a > b), "{metric}: {product:?}");
        assert!(product[3] < 1e-2, "{metric}: {product:?}");
    }
}

/// Neighbours in tight clusters differ by little of what rows differ by: codes of a byte a number keep as
/// many of them as bytes by the range of each number do, up to 5 points: numbers that are spread evenly over
/// their range, as here, suit these best.
#[test]
fn eight_bits_tell_neighbours_in_tight_clusters_apart() {
    let (n, dim, k) = (600, 24, 10);
    let noise = |i: usize| {
        let bits = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let bits = (bits ^ (bits >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (bits >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    let value = |i: usize| {
        let (row, column) = (i / dim, i % dim);
        noise(row % 12 * dim + column) + 0.02 * noise(9999 + i)
    };
    let x = unit(&Matrix::new(n, dim, (0..n * dim).map(value).collect()).unwrap());
    let range = |j: usize| {
        let values = (0..n).map(|i| x.row(i)[j]);
        values.fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(v), high.max(v)))
    };
    let ranges: Vec<(f32, f32)> = (0..dim).map(range).collect();
    let mut int8 = x.clone();
    for row in int8.as_mut_slice().chunks_exact_mut(dim) {
        for (v, (low, high)) in row.iter_mut().zip(&ranges) {
            let step = (high - low) / 255.0;
            *v = low + step * ((*v - low) / step).round();
        }
    }
    let codec = scalar(Metric::Cosine, 8, &x);
    let ctx = Context::with_threads(2).unwrap();
    let coded = codec.decode(&codec.encode(&ctx, &x).unwrap()).unwrap();
    let ids = |base: &Matrix, i: usize| -> Vec<u32> {
        nearest(Metric::Cosine, x.row(i), base, k).iter().map(|(_, id)| *id).collect()
    };
    let kept = |base: &Matrix| {
        let shared = |i: usize| {
            let found = ids(base, i);
            ids(&x, i).iter().filter(|&id| found.contains(id)).count()
        };
        (0..n).map(shared).sum::<usize>() as f64 / (n * k) as f64
    };
    let (coded, int8) = (kept(&coded), kept(&int8));
    assert!(int8 < 0.95 && coded > int8 - 0.05, "{coded} and {int8}");
}

#[test]
fn bytes_are_what_they_are_said_to_be() {
    let x = rows(50, 21, 0.0);
    for (metric, bits, bytes) in [
        (Metric::Cosine, 1, 3),
        (Metric::Cosine, 2, 6),
        (Metric::Cosine, 4, 13),
        (Metric::Cosine, 8, 23),
        (Metric::L2, 1, 3),
        (Metric::L2, 2, 8),
        (Metric::Ip, 8, 23),
    ] {
        let codec = scalar(metric, bits, &x);
        assert_eq!(codec.row_bytes(), bytes, "{metric} {bits}");
        let codes = codec.encode(&Context::with_threads(1).unwrap(), &x).unwrap();
        assert_eq!(codes.len(), 50 * bytes);
        if bits == 1 {
            // 21 bits, then zeros.
            assert!(codes.chunks_exact(3).all(|code| code[2].trailing_zeros() >= 3));
        }
        let error = codec.decode(&codes[1..]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("codes: expected rows of {bytes} bytes")), "{error}");
    }
}

#[test]
fn a_search_is_that_of_the_rows_that_codes_stand_for_at_any_number_of_threads() {
    let ctx = Context::with_threads(2).unwrap();
    let (x, queries) = (rows(1300, 24, 0.0), rows(40, 24, 0.9));
    for metric in METRICS {
        for codec in [
            scalar(metric, 1, &x),
            scalar(metric, 2, &x),
            scalar(metric, 8, &x),
            product(&ctx, metric, 6, &x),
        ] {
            let mut all = Vec::new();
            for threads in [1, 2, 4] {
                let ctx = Context::with_threads(threads).unwrap();
                let bytes = codec.encode(&ctx, &x).unwrap();
                let codes = DenseVectors::new(&bytes, codec.row_bytes()).unwrap();
                let found = search_codes(&ctx, &codec, &codes, &queries, 10).unwrap();
                all.push((bytes, found));
            }
            assert!(all[0] == all[1] && all[0] == all[2], "{metric} {}", codec.spec());
            let (bytes, found) = &all[0];
            let about = codec.decode(bytes).unwrap();
            for (i, found) in found.chunks_exact(10).enumerate() {
                let want = nearest(metric, queries.row(i), &about, 1300);
                let score = |id: u32| want.iter().find(|(_, other)| *other == id).unwrap().0;
                let size = want[0].0.abs().max(1.0);
                for (place, &id) in found.iter().enumerate() {
                    // Rows are turned back for this in f32, so those as near may change places.
                    let off = (score(id) - want[place].0).abs();
                    assert!(off < 1e-5 * size, "{metric} {} {i} {place}: {off}", codec.spec());
                }
            }
        }
    }
}

#[test]
fn candidates_are_put_in_order_by_the_rows_themselves() {
    let ctx = Context::with_threads(2).unwrap();
    let (x, queries) = (rows(700, 24, 0.0), rows(30, 24, 0.9));
    for metric in METRICS {
        let codec = scalar(metric, 2, &x);
        let bytes = codec.encode(&ctx, &x).unwrap();
        let codes = DenseVectors::new(&bytes, codec.row_bytes()).unwrap();
        // With every row as a candidate they are the exact neighbours.
        let all = search_codes(&ctx, &codec, &codes, &queries, 700).unwrap();
        let found = rescore(&ctx, &all, &queries, &x, 10, metric).unwrap();
        for (i, found) in found.chunks_exact(10).enumerate() {
            let want: Vec<u32> =
                nearest(metric, queries.row(i), &x, 10).into_iter().map(|(_, id)| id).collect();
            assert_eq!(found, want, "{metric} {i}");
        }
    }
}

#[test]
fn damaged_lengths_are_noticed() {
    let ctx = Context::with_threads(2).unwrap();
    let x = rows(400, 12, 0.0);
    for metric in [Metric::L2, Metric::Ip] {
        let codec = scalar(metric, 4, &x);
        let mut bytes = codec.encode(&ctx, &x).unwrap();
        // The length is an f16 at the end: not a number.
        let end = 200 * codec.row_bytes() - 1;
        (bytes[end - 1], bytes[end]) = (1, 0x7c);
        let codes = DenseVectors::new(&bytes, codec.row_bytes()).unwrap();
        let want = "codes: expected lengths that are finite (codes are damaged), got NaN";
        assert_eq!(search_codes(&ctx, &codec, &codes, &x, 3).unwrap_err().to_string(), want);
        assert_eq!(codec.decode(&bytes).unwrap_err().to_string(), want);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let ctx = Context::with_threads(1).unwrap();
    let x = rows(60, 12, 0.0);
    let codec = scalar(Metric::Cosine, 2, &x);
    let said = |error: twinlearn_codes::Error| error.to_string();
    let other = rows(60, 13, 0.0);
    assert_eq!(
        said(codec.encode(&ctx, &other).unwrap_err()),
        "X: expected vectors of dimension 12, got 13"
    );
    let bytes = vec![7_u8; 60 * 4];
    let codes = DenseVectors::new(&bytes, 4).unwrap();
    assert_eq!(
        said(Decoded::new(&codec, &codes).unwrap_err()),
        "codes: expected 3 bytes a row, as code sq2 has, got 4"
    );
    let numbers = Matrix::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.5, 6.0]).unwrap();
    let error = Decoded::new(&codec, &numbers).unwrap().read_rows(0, &mut [0.0; 24]).unwrap_err();
    assert_eq!(said(error), "codes: expected bytes, from 0 to 255, got 5.5");
    let error = ProductCode::train(&ctx, Metric::Cosine, &x, 13, 0).unwrap_err();
    assert_eq!(
        said(error),
        "codes: expected from 1 to 12 bytes, one for each number of a row at most, got pq:13"
    );
    let bytes = codec.encode(&ctx, &x).unwrap();
    let codes = DenseVectors::new(&bytes, 3).unwrap();
    assert_eq!(
        said(search_codes(&ctx, &codec, &codes, &x, 61).unwrap_err()),
        "k: expected a number from 1 to 60, got 61"
    );
}

#[test]
fn parts_of_a_product_code_make_it_again() {
    let ctx = Context::with_threads(2).unwrap();
    let x = unit(&rows(300, 10, 0.0));
    let code = ProductCode::train(&ctx, Metric::Cosine, &x, 4, 1).unwrap();
    let (rotation, centres) = (code.rotation().clone(), code.centres().clone());
    assert_eq!((centres.rows(), centres.cols()), (256, 10));
    let again =
        ProductCode::from_parts(Metric::Cosine, rotation.clone(), centres.clone(), 4).unwrap();
    assert_eq!(again, code);
    let error = ProductCode::from_parts(Metric::Cosine, rotation, centres, 11).unwrap_err();
    assert!(error.to_string().starts_with("codes: expected a rotation of d × d"), "{error}");
}

#[test]
fn product_codes_do_not_depend_on_the_scale_of_rows() {
    let ctx = Context::with_threads(2).unwrap();
    let x = rows(400, 12, 0.0);
    for metric in METRICS {
        let codes: Vec<Vec<u8>> = [1.0_f32, 2.0_f32.powi(-66), 2.0_f32.powi(100)]
            .into_iter()
            .map(|scale| {
                let scaled = x.as_slice().iter().map(|v| v * scale).collect();
                let scaled = Matrix::new(400, 12, scaled).unwrap();
                let codec = product(&ctx, metric, 4, &scaled);
                let codes = codec.encode(&ctx, &scaled).unwrap();
                let about = codec.decode(&codes).unwrap();
                let wanted = if metric == Metric::Cosine { unit(&scaled) } else { scaled };
                let square = |v: f32| f64::from(v).powi(2);
                let off =
                    about.as_slice().iter().zip(wanted.as_slice()).map(|(a, b)| square(a - b));
                let share =
                    off.sum::<f64>() / wanted.as_slice().iter().map(|&v| square(v)).sum::<f64>();
                assert!(share < 0.2, "{metric} {scale}: {share}");
                codes
            })
            .collect();
        assert!(codes[0] == codes[1] && codes[0] == codes[2], "{metric}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever rows are: codes are decoded to finite numbers, near the row where bits are many, and a
    /// row's code does not depend on those beside it.
    #[test]
    fn odd_rows_are_coded(
        dim in 1usize..40, bits in 0usize..4, metric in 0usize..3,
        scale in prop::sample::select(vec![0.0_f32, 1e-30, 1e-3, 1.0, 1e4, 1e15]),
        same in any::<bool>(),
    ) {
        let ctx = Context::with_threads(2).unwrap();
        let metric = METRICS[metric];
        // A row of zeros has no direction, and is refused before.
        prop_assume!(metric != Metric::Cosine || scale > 0.0);
        let mut x = rows(20, dim, 0.4);
        if same {
            let first = x.row(0).to_vec();
            x.as_mut_slice().chunks_exact_mut(dim).for_each(|row| row.copy_from_slice(&first));
        }
        x.as_mut_slice().iter_mut().for_each(|v| *v *= scale);
        let codec = scalar(metric, [1, 2, 4, 8][bits], &x);
        let codes = codec.encode(&ctx, &x).unwrap();
        let about = codec.decode(&codes).unwrap();
        prop_assert!(about.as_slice().iter().all(|v| v.is_finite()));
        let wanted = if metric == Metric::Cosine { unit(&x) } else { x.clone() };
        let size: f32 = wanted.as_slice().iter().fold(0.0, |a, v| a.max(v.abs()));
        if bits == 3 {
            for (a, b) in about.as_slice().iter().zip(wanted.as_slice()) {
                prop_assert!((a - b).abs() <= 0.1 * size, "{} {} of {}", a, b, size);
            }
        }
        let one = Matrix::new(1, dim, x.row(11).to_vec()).unwrap();
        let bytes = codec.row_bytes();
        prop_assert_eq!(&codec.encode(&ctx, &one).unwrap(), &codes[11 * bytes..12 * bytes]);
    }
}
