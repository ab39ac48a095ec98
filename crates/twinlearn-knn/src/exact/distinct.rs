//! Rows that can be neighbours where many are equal.

use std::hash::{DefaultHasher, Hasher};

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_vectors::Vectors;

use crate::kernels::scan::TILE;

/// The rows that a list of `k` can have, rising: as ties are decided by the smaller id, it has none but
/// the first `k` of rows that are equal. None where that is every row.
pub(super) fn distinct(ctx: &Context, x: &dyn Vectors, k: usize) -> Result<Option<Vec<u32>>> {
    let dim = x.dim();
    let mut hashes = vec![(0_u64, 0_u32); x.n_rows()];
    ctx.try_for_each_chunk(&mut hashes, TILE, |b, out| {
        let mut rows = vec![0.0; out.len() * dim];
        x.read_rows(b * TILE, &mut rows)?;
        for ((i, out), row) in out.iter_mut().enumerate().zip(rows.chunks_exact(dim)) {
            let mut hasher = DefaultHasher::new();
            row.iter().for_each(|v| hasher.write_u32(v.to_bits()));
            *out = (hasher.finish(), (b * TILE + i) as u32);
        }
        Ok(())
    })?;
    hashes.sort_unstable();
    let is_equal = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    let mut dropped = Vec::new();
    let (mut first, mut other) = (vec![0.0; dim], vec![0.0; dim]);
    for run in hashes.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > k) {
        x.read_rows(run[0].1 as usize, &mut first)?;
        let mut equal = 1;
        for &(_, id) in &run[1..] {
            x.read_rows(id as usize, &mut other)?;
            if is_equal(&other, &first) {
                equal += 1;
                if equal > k {
                    dropped.push(id);
                }
            }
        }
    }
    if dropped.is_empty() {
        return Ok(None);
    }
    dropped.sort_unstable();
    let is_kept = |id: &u32| dropped.binary_search(id).is_err();
    Ok(Some((0..x.n_rows() as u32).filter(is_kept).collect()))
}
