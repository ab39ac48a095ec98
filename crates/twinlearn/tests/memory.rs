//! A fit keeps within the memory that its plan asks for: every loss, encoder and start, few and many
//! dimensions, with the least memory that is not refused.
//!
//! One test, as what other threads take would be counted too.

mod support;

use peak_alloc::PeakAlloc;
use support::uniform;
use twinlearn::{Context, Error, Loss, Matrix, Params, ParamsBuilder, Recipe, Solver, Trainer};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn rows(n: usize, dim: usize) -> Matrix {
    let mut next = uniform(7);
    let values = (0..n * dim).map(|i| next() * if i % dim < 12 { 4.0 } else { 1.0 }).collect();
    Matrix::new(n, dim, values).unwrap()
}

/// What is set beside the dimension and the encoder.
type With = fn(ParamsBuilder) -> ParamsBuilder;

/// The least bytes that a fit of these is not refused with.
fn least(x: &Matrix, params: &Params) -> usize {
    let mut bytes = 1;
    loop {
        let ctx = Context::with_threads(2).unwrap().memory(bytes);
        let Err(Error::Invalid { name, expected, .. }) = Trainer::new(params.clone()).fit(&ctx, x)
        else {
            return bytes;
        };
        assert_eq!(name, "memory", "{expected}");
        let megabytes = expected.split_whitespace().find_map(|word| word.parse::<usize>().ok());
        let more = megabytes.unwrap() * 1_000_000;
        assert!(more > bytes, "{expected}: refused with {bytes} bytes");
        bytes = more;
    }
}

#[test]
fn fits_take_no_more_than_their_plans() {
    let settings: [(&str, With); 10] = [
        ("KL", |p| p.loss(Loss::KL)),
        ("KL nested", |p| p.loss(Loss::KL).nested(vec![2, 4])),
        ("BT", |p| p.loss(Loss::BT)),
        ("MSE", |p| p.loss(Loss::MSE)),
        ("gaussian", |p| p.gaussian(true)),
        ("KL projector", |p| p.loss(Loss::KL).projector("flinear-1-64".parse().ok())),
        ("codes", |p| p.solver(Solver::Pca).codes("pq:3".parse().unwrap())),
        ("pca", |p| p.solver(Solver::Pca)),
        ("spectral", |p| p.solver(Solver::Spectral)),
        ("reference", |p| p.recipe(Recipe::Reference).batch_size(256)),
    ];
    for (n, dim) in [(3000, 8), (1500, 200), (800, 450), (300, 1200)] {
        let x = rows(n, dim);
        for (name, with) in settings {
            let encoders = ["linear", "mlp-1-512", "flinear-1-64"];
            for encoder in &encoders[..if dim == 8 { 3 } else { 2 }] {
                let builder = with(Params::builder().n_components(6));
                let builder = builder.encoder(encoder.parse().unwrap());
                // Solvers without training take no epochs, and only linear encoders.
                let trained = builder.clone().epochs(1).build();
                let Ok(params) = trained.or_else(|_| builder.build()) else { continue };
                let bytes = least(&x, &params);
                let ctx = Context::with_threads(2).unwrap().memory(bytes);
                HEAP.reset_peak_usage();
                let before = HEAP.current_usage();
                let fit = Trainer::new(params).fit(&ctx, &x);
                let taken = HEAP.peak_usage() - before;
                assert!(fit.is_ok(), "{n} x {dim}, {name}, {encoder}");
                assert!(taken <= bytes, "{n} x {dim}, {name}, {encoder}: {taken} of {bytes}");
                // Nor are fits refused that would take much less.
                assert!(
                    5 * taken > bytes || bytes < 20_000_000,
                    "{n} x {dim}, {name}, {encoder}: {taken} of {bytes}"
                );
            }
        }
    }
}
