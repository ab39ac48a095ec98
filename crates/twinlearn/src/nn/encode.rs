//! Rows through a folded network.

use std::ops::Range;

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Matrix;
use twinlearn_vectors::Vectors;

use super::network::Network;

/// Rows that go through the network at once, few enough for a cache.
const ROWS: usize = 32;
/// Rows of a task.
const TASK: usize = 8 * ROWS;

/// Bytes of rows that a thread takes to encode.
pub(crate) fn encode_bytes(dim: usize) -> usize {
    ROWS * dim * size_of::<f32>()
}

/// Every row of checked vectors through a folded network: N × d.
pub(crate) fn encode(ctx: &Context, network: &Network<f32>, x: &dyn Vectors) -> Result<Matrix> {
    let mut out = Matrix::zeros(x.n_rows(), network.out_width());
    encode_rows(ctx, network, x, 0..x.n_rows(), out.as_mut_slice(), |_, _, _| Ok(()))?;
    Ok(out)
}

/// Writes what becomes of the rows `run` of `x` to `out`. `each` gets every row's number, the row
/// itself and what becomes of it.
pub(crate) fn encode_rows(
    ctx: &Context,
    network: &Network<f32>,
    x: &dyn Vectors,
    run: Range<usize>,
    out: &mut [f32],
    each: impl Fn(usize, &[f32], &mut [f32]) -> Result<()> + Send + Sync,
) -> Result<()> {
    let (dim, width) = (x.dim(), network.out_width());
    ctx.try_for_each_chunk(out, TASK * width, |c, out| {
        let mut buffer = Vec::new();
        for (b, out) in out.chunks_mut(ROWS * width).enumerate() {
            let (first, n) = (run.start + c * TASK + b * ROWS, out.len() / width);
            let rows = match x.as_f32() {
                Some(all) => &all[first * dim..][..n * dim],
                None => {
                    buffer.resize(ROWS * dim, 0.0);
                    let rows = &mut buffer[..n * dim];
                    x.read_rows(first, rows)?;
                    rows
                }
            };
            out.copy_from_slice(network.infer(rows).as_slice());
            for (i, (row, out)) in
                rows.chunks_exact(dim).zip(out.chunks_exact_mut(width)).enumerate()
            {
                each(first + i, row, out)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::NormLayer;
    use twinlearn_core::random::{Purpose, generator};

    #[test]
    fn a_rows_bits_do_not_depend_on_its_company() {
        let x = Matrix::new(700, 37, (0..700 * 37).map(|i| (i as f32 * 0.7).sin()).collect());
        let x = x.unwrap();
        let mut rng = generator(1, Purpose::Init, 0);
        for (spec, norm) in [("linear", NormLayer::Batch), ("mlp-1-40", NormLayer::Layer)] {
            let spec = spec.parse().unwrap();
            let network = Network::random(&spec, norm, 37, 5, &mut rng).folded();
            let run = |threads, rows: Range<usize>| {
                let ctx = Context::with_threads(threads).unwrap();
                let mut out = vec![0.0; rows.len() * 5];
                encode_rows(&ctx, &network, &x, rows, &mut out, |_, _, _| Ok(())).unwrap();
                out
            };
            let all = run(2, 0..700);
            for rows in [0..1, 31..33, 5..300, 699..700, 1..700] {
                assert!(run(1, rows.clone()) == all[rows.start * 5..rows.end * 5], "{rows:?}");
            }
        }
    }
}
