//! The exact end: the kept candidates in order of their true distances.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::arch;
use twinlearn_vectors::Vectors;

use super::list::{FRESH, List};
use crate::kernels::scan::{Pair, Rows, exact};
use crate::metric::Metric;
use crate::neighbor::{Nearest, Neighbor};

/// Rows of a task.
const ROWS: usize = 64;

/// Candidates compared at once: what a pair can number.
const RUN: usize = 1 << 15;

/// Bytes of a task's rows.
pub(super) fn bytes(dim: usize, kept: usize) -> usize {
    4 * dim * ROWS * (kept + 1)
}

/// The `k` nearest of each row's list, row after row, best first. `rows` has the number of the row
/// at each position.
pub(super) fn nearest(
    ctx: &Context,
    x: &dyn Vectors,
    norms: &[f64],
    metric: Metric,
    rows: &[u32],
    lists: &mut [List],
    k: usize,
) -> Result<Vec<u32>> {
    let mut by_position = vec![0; lists.len() * k];
    let mut pieces: Vec<_> = lists.chunks_mut(ROWS).zip(by_position.chunks_mut(ROWS * k)).collect();
    ctx.try_for_each_chunk(&mut pieces, 1, |c, piece| {
        let (lists, out) = &mut piece[0];
        let own = &rows[c * ROWS..][..lists.len()];
        let id = |list: &List| -> Vec<u32> {
            list.entries().iter().map(|e| rows[(e.id & !FRESH) as usize]).collect()
        };
        // Rows that are not floats in memory are read once for the task.
        let mut ids = own.to_vec();
        let mut read = Vec::new();
        if x.as_f32().is_none() {
            ids.extend(lists.iter().flat_map(id));
            ids.sort_unstable();
            ids.dedup();
            read.resize(ids.len() * x.dim(), 0.0);
            x.gather(&ids, &mut read)?;
        }
        let data = x.as_f32().unwrap_or(&read);
        let place = |id: u32| match x.as_f32() {
            Some(_) => id,
            None => ids.binary_search(&id).unwrap_or(0) as u32,
        };
        let mut sums = Vec::new();
        for ((list, out), &row) in lists.iter_mut().zip(out.chunks_exact_mut(k)).zip(own) {
            let ids = id(list);
            let index: Vec<u32> = ids.iter().map(|&id| place(id)).collect();
            let width = x.dim();
            let mut nearest = Nearest::new(k, f64::INFINITY);
            for (ids, index) in ids.chunks(RUN).zip(index.chunks(RUN)) {
                let pairs: Vec<Pair> =
                    (0..ids.len()).map(|right| Pair { left: 0, right: right as u16 }).collect();
                let left = Rows { data, width, index: &[place(row)] };
                exact(arch(), metric.term(), left, Rows { index, ..left }, &pairs, &mut sums);
                for (&id, &sum) in ids.iter().zip(&sums) {
                    let distance = metric.distance_of(sum, norms[row as usize], norms[id as usize]);
                    nearest.push(Neighbor { distance, id });
                }
            }
            let found = nearest.into_sorted();
            out.iter_mut().zip(found).for_each(|(id, find)| *id = find.id);
            *list = List::default();
        }
        Ok(())
    })?;
    let mut ids = vec![0; by_position.len()];
    for (&row, found) in rows.iter().zip(by_position.chunks_exact(k)) {
        ids[row as usize * k..][..k].copy_from_slice(found);
    }
    Ok(ids)
}
