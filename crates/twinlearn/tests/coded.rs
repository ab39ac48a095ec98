//! Codes of a model: searched, judged, advised; against brute force over what bytes stand for.

mod support;

use support::uniform;
use twinlearn::{
    Bits, CodeSearch, Codec, Context, DenseVectors, EvaluationData, EvaluationParams, Goal, Matrix,
    MethodEvaluation, MethodKind, Metric, Model, Params, Reduction, Solver, Trainer,
    TransformOptions, VectorSource, Verdict, advise, evaluate,
};

const DIM: usize = 24;
const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Ip, Metric::L2];

fn context() -> Context {
    Context::with_threads(2).unwrap()
}

/// Rows in clusters, along a dozen directions.
fn rows(n: usize, seed: u64) -> Matrix {
    let mut next = uniform(seed);
    let directions: Vec<f32> = (0..12 * DIM).map(|i| ((i * i % 97) as f32 * 0.7).sin()).collect();
    let data = (0..n).flat_map(|_| {
        let weights: Vec<f32> = (0..12).map(|j| next() / (1 + j % 5) as f32).collect();
        let value = |c: usize| (0..12).map(|j| weights[j] * directions[j * DIM + c]).sum::<f32>();
        (0..DIM).map(|c| value(c) + 0.05 * next() + 0.1).collect::<Vec<f32>>()
    });
    Matrix::new(n, DIM, data.collect()).unwrap()
}

fn fitted(x: &Matrix, metric: Metric, codes: Option<&str>) -> Model {
    let mut params = Params::builder().n_components(8).metric(metric).solver(Solver::Pca);
    if let Some(codes) = codes {
        params = params.codes(codes.parse().unwrap());
    }
    Trainer::new(params.build().unwrap()).fit(&context(), x).unwrap().model
}

fn distance(metric: Metric, query: &[f32], row: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    match metric {
        Metric::Cosine => -dot(query, row) / dot(row, row).sqrt(),
        Metric::Ip => -dot(query, row),
        Metric::L2 => dot(row, row) - 2.0 * dot(query, row),
    }
}

/// The k nearest of each query among rows, by brute force.
fn nearest(metric: Metric, queries: &Matrix, base: &Matrix, k: usize) -> Vec<Vec<u32>> {
    let of = |q: usize| {
        let mut all: Vec<(f64, u32)> = (0..base.rows())
            .map(|i| (distance(metric, queries.row(q), base.row(i)), i as u32))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.into_iter().take(k).map(|(_, id)| id).collect()
    };
    (0..queries.rows()).map(of).collect()
}

fn recall(truth: &[Vec<u32>], found: &[Vec<u32>]) -> f64 {
    let hits: usize =
        truth.iter().zip(found).map(|(t, f)| t.iter().filter(|id| f.contains(id)).count()).sum();
    hits as f64 / (truth.len() * truth[0].len()) as f64
}

#[test]
fn codes_are_judged_by_what_a_search_of_them_finds() {
    let (x, q, ctx) = (rows(700, 1), rows(150, 2), context());
    for metric in METRICS {
        let model = fitted(&x, metric, Some("pq:4"));
        let truth = nearest(metric, &q, &x, 5);
        for bits in [Some(1), Some(2), Some(4), None] {
            let bits = bits.map(|bits| Bits::new(bits).unwrap());
            let params = EvaluationParams::default()
                .metric(metric)
                .n_neighbors(5)
                .bits(bits)
                .codes(bits.is_none())
                .candidates(Some(40));
            let data = EvaluationData::new(&x).queries(&q);
            let given = [("model", Reduction::Model(&model))];
            let found = evaluate(&ctx, &data, &given, &params).unwrap();

            let codec = model.codec(bits).unwrap();
            let codes = model.encode(&ctx, &codec, &x).unwrap();
            let base = DenseVectors::new(&codes, codec.row_bytes()).unwrap();
            let searched = |search: &CodeSearch<'_>, k: usize| -> Vec<Vec<u32>> {
                let ids = model.search(&ctx, &base, &q, search).unwrap();
                ids.chunks_exact(k).map(<[u32]>::to_vec).collect()
            };
            let judged = &found.methods[1];
            let said = format!("{metric} {}: {found}", codec.spec());
            assert_eq!(judged.kind, MethodKind::Given, "{said}");
            assert_eq!(judged.format, codec.spec().to_string(), "{said}");
            assert_eq!(judged.bytes_per_vector, codec.row_bytes(), "{said}");
            let plain = searched(&CodeSearch::new(&codec, 5), 5);
            assert!((judged.recall.value - recall(&truth, &plain)).abs() < 1e-9, "{said}");
            // The full vectors put candidates in order: what is among them is found.
            let best = searched(&CodeSearch::new(&codec, 5).rescore(&x).candidates(40), 5);
            let rescored = judged.rescored.unwrap().value;
            assert!((rescored - recall(&truth, &best)).abs() < 1e-9, "{said}");
            assert!(rescored > judged.recall.value, "{said}");

            let of = |name: &str, format: &str| -> &MethodEvaluation {
                let mut methods = found.methods.iter();
                methods.find(|m| m.name == name && m.format == format).expect(&said)
            };
            assert_eq!(of("full vectors", "int8").bytes_per_vector, DIM);
            assert!(of("full vectors", "int8").recall.value > 0.9, "{said}");
            assert_eq!(of("model", "int8").bytes_per_vector, 8);
            assert_eq!(of("model", "f32").bytes_per_vector, 32);
            // Signs, by brute force.
            let signs = |rows: &Matrix| {
                let sign = |v: &f32| if *v > 0.0 { 1.0 } else { -1.0 };
                Matrix::new(rows.rows(), DIM, rows.as_slice().iter().map(sign).collect()).unwrap()
            };
            let by_signs = nearest(Metric::Ip, &signs(&q), &signs(&x), 5);
            let judged = of("full vectors", "signs");
            assert_eq!(judged.bytes_per_vector, 3);
            assert!((judged.recall.value - recall(&truth, &by_signs)).abs() < 1e-9, "{said}");
            if bits == Some(Bits::new(1).unwrap()) {
                let hamming = by_hamming(&codec, &model, &x, &q);
                let judged = of("model", "Hamming");
                assert!((judged.recall.value - recall(&truth, &hamming)).abs() < 1e-9, "{said}");
            }
            // The verdict is about what takes no more bytes.
            let rival = found.best_baseline().unwrap();
            assert!(rival.bytes_per_vector <= codec.row_bytes(), "{said}");
            assert!(found.sentence().unwrap().contains(&format!("in {}", codec.row_bytes())));
        }
    }
}

/// The five nearest by bits that differ, ties by the smaller number.
fn by_hamming(codec: &Codec, model: &Model, x: &Matrix, q: &Matrix) -> Vec<Vec<u32>> {
    let ctx = context();
    let [base, queries] = [x, q].map(|rows| model.encode(&ctx, codec, rows).unwrap());
    let bytes = codec.row_bytes();
    let of = |query: &[u8]| {
        let mut all: Vec<(u32, u32)> = base
            .chunks_exact(bytes)
            .zip(0..)
            .map(|(row, id)| (row.iter().zip(query).map(|(a, b)| (a ^ b).count_ones()).sum(), id))
            .collect();
        all.sort_unstable();
        all.into_iter().take(5).map(|(_, id)| id).collect()
    };
    queries.chunks_exact(bytes).map(of).collect()
}

#[test]
fn rows_that_anything_reduced_are_judged_by_the_same_codes() {
    let (x, ctx) = (rows(600, 3), context());
    let model = fitted(&x, Metric::Cosine, Some("pq:4"));
    let cut =
        Matrix::new(600, 8, x.as_slice().chunks(DIM).flat_map(|r| &r[..8]).copied().collect());
    let cut = cut.unwrap();
    let data = EvaluationData::new(&x);
    let given =
        [("cut", Reduction::Reduced { x: &cut, queries: None }), ("m", Reduction::Model(&model))];
    for (params, format) in [
        (EvaluationParams::default().codes(true), "pq:4"),
        (EvaluationParams::default().bits(Some(Bits::new(4).unwrap())), "sq4"),
    ] {
        let found = evaluate(&ctx, &data, &given, &params).unwrap();
        let judged: Vec<_> = found.given().collect();
        assert!(judged.iter().all(|method| method.format == format), "{found}");
        assert!(judged[1].recall.value > judged[0].recall.value + 0.1, "{found}");
    }
    let params = EvaluationParams::default();
    for (params, want) in [
        (params.codes(true), "codes: expected a model among what is judged"),
        (params.codes(true).bits(Some(Bits::new(2).unwrap())), "bits: expected none beside codes"),
        (params.candidates(Some(9)), "candidates: expected a number from n_neighbors (10) to 500"),
        (
            params.candidates(Some(541)),
            "candidates: expected a number from n_neighbors (10) to 500",
        ),
    ] {
        let error = evaluate(&ctx, &data, &given[..1], &params).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    }
}

#[test]
fn advice_keeps_within_its_bytes() {
    let (x, ctx) = (rows(900, 4), context());
    let params = EvaluationParams::default();
    for (bytes, candidates) in [(1, None), (3, None), (4, Some(50)), (7, None), (12, None)] {
        let advice = advise(&ctx, &x, Goal::Bytes(bytes), &params.candidates(candidates)).unwrap();
        let choice = advice.choice.as_ref().unwrap();
        assert!(choice.bytes_per_vector <= bytes, "{advice}");
        assert_eq!(advice.reduced_bytes_per_vector, choice.bytes_per_vector);
        // Nothing of TLDR or PCA that fits was measured to keep clearly more.
        for curve in advice.curves.iter().filter(|curve| curve.name != "full vectors") {
            for point in curve.points.iter().filter(|point| point.bytes_per_vector <= bytes) {
                assert!(point.recall.value <= choice.recall.value + 0.06, "{advice}");
            }
        }
        // What is said can be fitted, and takes so many bytes.
        let fitted = advice.fitted().unwrap();
        let params = advice.params().unwrap().unwrap();
        let model = Trainer::new(params).fit(&ctx, &x).unwrap().model;
        assert_eq!(model.n_components(), fitted.n_components);
        let codec = match fitted.format.strip_prefix("sq") {
            Some(bits) => model.codec(Some(Bits::new(bits.parse().unwrap()).unwrap())),
            None => model.codec(None),
        };
        assert_eq!(codec.unwrap().row_bytes(), fitted.bytes_per_vector, "{advice}");
    }
    // More bytes than numbers: a byte for each, learned.
    let found = advise(&ctx, &x, Goal::Bytes(DIM - 1), &params).unwrap();
    let learned = found.curves.iter().find(|c| c.name == "PCA" && c.format == "pq").unwrap();
    assert_eq!(learned.points.last().unwrap().bytes_per_vector, DIM - 1, "{found}");
    let advice = |bytes| advise(&ctx, &x, Goal::Bytes(bytes), &params).unwrap();
    let more = advice(DIM + 5);
    let learned = more.curves.iter().find(|c| c.name == "PCA" && c.format == "pq").unwrap();
    assert_eq!(learned.points.last().unwrap().bytes_per_vector, DIM, "{more}");
    assert_eq!(advice(DIM).verdict, Verdict::Int8IsEnough);
    let all = advice(4 * DIM);
    assert_eq!((all.verdict, all.choice), (Verdict::KeepAll, None));
    assert_eq!(all.reduced_bytes_per_vector, 4 * DIM);
    let error = advise(&ctx, &x, Goal::Bytes(0), &params).unwrap_err().to_string();
    assert_eq!(error, "bytes: expected at least 1 a row, got 0");
}

#[test]
fn advice_on_a_share_takes_the_fewest_bytes() {
    let (x, ctx) = (rows(900, 5), context());
    let advice = |keep, candidates| {
        let params = EvaluationParams::default().candidates(candidates);
        advise(&ctx, &x, Goal::Keep(keep), &params).unwrap()
    };
    let floats = advice(0.7, None);
    let choice = floats.choice.as_ref().unwrap();
    // Floats of as many neighbours take four times the bytes of codes, at least.
    let d = floats.n_components.into_iter().chain(floats.pca_n_components).min().unwrap();
    assert!(2 * choice.bytes_per_vector <= 4 * d, "{floats}");
    assert!(choice.recall.value > 0.65, "{floats}");
    // Fewer where the full vectors put candidates in order.
    let rescored = advice(0.7, Some(60));
    assert!(rescored.reduced_bytes_per_vector < floats.reduced_bytes_per_vector, "{rescored}");
}

#[test]
fn tables_tell_what_their_codes_are() {
    let (x, ctx) = (rows(500, 6), context());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let model = fitted(&x, Metric::Cosine, Some("pq:4"));
    let other = fitted(&rows(500, 7), Metric::Cosine, Some("pq:4"));
    twinlearn::write_npy_integers(
        twinlearn::OutputFile::create_as(path("x.npy"), &["npy"]).unwrap(),
        500,
        &x.as_slice().iter().map(|v| (1000.0 * v) as i64).collect::<Vec<_>>(),
    )
    .unwrap();
    let source = VectorSource::open(path("x.npy")).unwrap();
    // Four bits of eight numbers are four bytes, as the product code's.
    let bits = Some(Bits::new(4).unwrap());
    for name in ["codes.parquet", "codes.arrow"] {
        let codec = model.codec(bits).unwrap();
        let bytes = codec.row_bytes();
        let options = TransformOptions::default().codec(Some(codec));
        model.transform_file(&ctx, &source, path(name), &options).unwrap();
        let codes = VectorSource::open(path(name)).unwrap();
        let (of, found) = model.codec_of_file(&codes, None, (None, false)).unwrap();
        assert_eq!((of.n_components(), found.row_bytes()), (8, bytes));
        assert_eq!(found.spec().to_string(), "sq4");
        for (model, bits, own, want) in [
            (&model, None, true, "expected pq:4 of 8 numbers, got sq4 of 8 numbers"),
            (&model, Some(Bits::new(8).unwrap()), false, "expected sq8 of 8 numbers, got sq4"),
            (&other, None, false, "expected codes of this model, got those of another"),
        ] {
            let error = model.codec_of_file(&codes, None, (bits, own)).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
    let message = model.codec_of_file(&source, None, (None, false)).unwrap_err().to_string();
    assert!(message.ends_with("expected codes, which are bytes (u8), got i64"), "{message}");
}

#[test]
fn searches_refuse_what_cannot_be_compared() {
    let (x, q, ctx) = (rows(300, 8), rows(5, 9), context());
    let model = fitted(&x, Metric::Cosine, None);
    let codec = model.codec(Some(Bits::new(4).unwrap())).unwrap();
    let codes = model.encode(&ctx, &codec, &x).unwrap();
    let base = DenseVectors::new(&codes, codec.row_bytes()).unwrap();
    let changed = |rows: &Matrix, value: f32| {
        let mut rows = rows.clone();
        rows.as_mut_slice()[2 * DIM..3 * DIM].fill(value);
        rows
    };
    let narrow = Matrix::zeros(300, 4);
    let some = CodeSearch::new(&codec, 5);
    let [zeros, nothing] = [changed(&q, 0.0), changed(&q, f32::NAN)];
    let [zero_rows, bad_rows] = [changed(&x, 0.0), changed(&x, f32::INFINITY)];
    let rescored = |rows| some.rescore(rows).candidates(300);
    for (queries, search, want) in [
        (&zeros, some, "queries: expected rows of non-zero length"),
        (&nothing, some, "queries: expected finite numbers"),
        (&narrow, some, "queries: expected vectors of dimension 24"),
        (&q, rescored(&zero_rows), "rescore: expected rows of non-zero length"),
        (&q, rescored(&bad_rows), "rescore: expected finite numbers"),
        (&q, some.rescore(&narrow), "rescore: expected vectors of dimension 24"),
        (&q, some.rescore(&q), "rescore: expected 300 rows, one for each code, got 5"),
        (&q, some.candidates(50), "candidates: expected none without the original rows"),
        (&q, some.rescore(&x).candidates(4), "candidates: expected a number from 5"),
        (&q, some.rescore(&x).candidates(301), "candidates: expected a number from 5"),
        (&q, CodeSearch::new(&codec, 0), "n_neighbors: expected a number from 1 to 300"),
        (&q, CodeSearch::new(&codec, 301), "n_neighbors: expected a number from 1 to 300"),
    ] {
        let error = model.search(&ctx, &base, queries, &search).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    }
    let error = model.encode(&ctx, &codec, &changed(&x, 0.0)).unwrap_err().to_string();
    assert!(error.starts_with("reduced vectors: expected rows of non-zero"), "{error}");
    // All rows are candidates where there are fewer than a hundred.
    let few = DenseVectors::new(&codes[..40 * codec.row_bytes()], codec.row_bytes()).unwrap();
    let first = Matrix::new(40, DIM, x.as_slice()[..40 * DIM].to_vec()).unwrap();
    let found = model.search(&ctx, &few, &q, &some.rescore(&first)).unwrap();
    assert_eq!(found, nearest(Metric::Cosine, &q, &first, 5).concat());
}

/// One row that is far from all others moves no code of theirs.
#[test]
fn rows_far_out_do_not_spoil_the_codes_of_others() {
    let (mut x, ctx) = (rows(600, 10), context());
    for metric in [Metric::L2, Metric::Ip] {
        let kept = |x: &Matrix| {
            let model = fitted(x, metric, None);
            let codec = model.codec(Some(Bits::new(4).unwrap())).unwrap();
            let z = model.transform(&ctx, x, false).unwrap();
            let about = codec.decode(&codec.encode(&ctx, &z).unwrap()).unwrap();
            let of = |i: usize| {
                let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
                about.row(i).iter().zip(z.row(i)).map(square).sum::<f64>().sqrt()
            };
            let mut errors: Vec<f64> = (0..599).map(of).collect();
            errors.sort_by(f64::total_cmp);
            errors[300]
        };
        let before = kept(&x);
        let last = x.as_slice()[599 * DIM..].to_vec();
        x.as_mut_slice()[599 * DIM..].iter_mut().for_each(|v| *v *= 1e4);
        let after = kept(&x);
        x.as_mut_slice()[599 * DIM..].copy_from_slice(&last);
        assert!(after < 2.0 * before, "{metric}: {before} {after}");
    }
}
