//! The lists of anchors: their nearest rows among all rows.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::{KnnGraph, near_search_of_checked, search_of_checked, without_own};
use twinlearn_vectors::{Subset, Vectors, ids_at, spread_ids};

use crate::params::Params;

/// The lists of the rows `anchors`, each without the row itself: nearly all their nearest rows, unless the
/// method is exact. Where those near them would be too few, of [`fewer`] anchors, exactly.
pub(super) fn of_rows(
    ctx: &Context,
    params: &Params,
    anchors: &[u32],
    rows: &dyn Vectors,
) -> Result<KnnGraph> {
    let k = params.n_neighbors;
    // They are read many times, wherever the rows lie.
    let mut some = Matrix::zeros(anchors.len(), rows.dim());
    rows.gather(anchors, some.as_mut_slice())?;
    let (anchors, found) = match near(ctx, params, &some, rows, k + 1)? {
        Some(found) => (anchors.to_vec(), found),
        None => {
            let anchors = fewer(params, anchors, rows);
            let some = Subset::new(rows, &anchors)?;
            let found = search_of_checked(ctx, &some, rows, k + 1, params.metric)?;
            (anchors, found)
        }
    };
    KnnGraph::of_anchors(rows.n_rows(), &anchors, without_own(&found, &anchors, k))
}

/// Those of the queries `training` that are anchors, with their lists: all, or an even sample of more than
/// there are anchors of so many rows.
pub(super) fn of_queries(
    ctx: &Context,
    params: &Params,
    (queries, training): (&dyn Vectors, &[u32]),
    rows: &dyn Vectors,
) -> Result<(Vec<u32>, Vec<u32>)> {
    let k = params.n_neighbors;
    let most = match params.n_anchors(rows.n_rows(), rows.dim()) {
        some if some < rows.n_rows() => some,
        _ => training.len(),
    };
    let mut anchors = ids_at(training, &spread_ids(training.len(), most));
    let found = near(ctx, params, &Subset::new(queries, &anchors)?, rows, k)?;
    if let Some(found) = found {
        return Ok((anchors, found));
    }
    if most < training.len() {
        anchors = fewer(params, &anchors, rows);
    }
    let asking = Subset::new(queries, &anchors)?;
    let found = search_of_checked(ctx, &asking, rows, k, params.metric)?;
    Ok((anchors, found))
}

/// An even sample of the anchors: as many as may look at all rows.
pub(super) fn fewer(params: &Params, anchors: &[u32], rows: &dyn Vectors) -> Vec<u32> {
    let most = params.n_exact_anchors(rows.n_rows(), rows.dim());
    ids_at(anchors, &spread_ids(anchors.len(), most))
}

/// The `k` nearest of `rows` to each of `anchors`, of those near them; none where all rows are to be
/// looked at.
fn near(
    ctx: &Context,
    params: &Params,
    anchors: &dyn Vectors,
    rows: &dyn Vectors,
    k: usize,
) -> Result<Option<Vec<u32>>> {
    match params.looks_near(rows.n_rows()) {
        true => {
            near_search_of_checked(ctx, anchors, rows, k, params.metric, params.bounds.most_pairs)
        }
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::{Arc, Mutex};

    use rand::RngExt;
    use twinlearn_core::progress::{Event, Observer};
    use twinlearn_core::random::{Purpose, generator};
    use twinlearn_knn::{KnnParams, Metric, knn_search};

    use super::*;
    use crate::params::Bounds;
    use crate::trainer::{Checkpoints, Trainer};

    const N: usize = 3000;
    const DIM: usize = 48;
    const K: usize = 12;

    /// What was noted.
    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Observer for Notes {
        fn on_event(&self, event: &Event<'_>) {
            if let Event::Note(note) = event {
                self.0.lock().unwrap().push((*note).to_owned());
            }
        }
    }

    impl Notes {
        fn count(&self, start: &str) -> usize {
            self.0.lock().unwrap().iter().filter(|note| note.starts_with(start)).count()
        }
    }

    /// Rows without any structure: a part of the clusters holds little more than its share.
    fn rows() -> Matrix {
        let mut rng = generator(5, Purpose::Noise, 0);
        let values = (0..N * DIM).map(|_| rng.random::<f32>() - 0.5);
        Matrix::new(N, DIM, values.collect()).unwrap()
    }

    /// Parameters with small bounds: 300 rows are anchors, or 100 where each looks at all rows.
    fn params(epochs: usize) -> Params {
        let params = Params::builder().n_components(4).metric(Metric::L2).n_neighbors(K);
        let mut params = params.epochs(epochs).batch_size(32).build().unwrap();
        params.bounds = Bounds { most_anchors: 2000, least_anchors: 50, most_pairs: 3e5 };
        assert_eq!((params.n_anchors(N, DIM), params.n_exact_anchors(N, DIM)), (300, 100));
        params
    }

    #[test]
    fn where_clusters_hold_too_little_a_third_of_the_anchors_look_at_all_rows() {
        let (x, notes) = (rows(), Arc::<Notes>::default());
        let ctx = Context::with_threads(2).unwrap().observer(notes.clone());
        let anchors: Vec<u32> = (0..300).map(|i| 9 * i + 4).collect();
        let graph = of_rows(&ctx, &params(1), &anchors, &x).unwrap();
        assert_eq!(notes.count("the clusters that each of 300 rows may look at hold"), 1);

        let knn = KnnParams::new(K + 1).metric(Metric::L2);
        let all = knn_search(&ctx, &x, &x, &knn).unwrap();
        let with_lists: Vec<u32> =
            (0..N as u32).filter(|&id| !graph.neighbors(id as usize).is_empty()).collect();
        assert_eq!(with_lists.len(), 100);
        for &id in &with_lists {
            assert!(anchors.binary_search(&id).is_ok());
            let i = id as usize;
            assert_eq!(all.neighbors(i)[0], id, "a row is nearest to itself");
            assert_eq!(graph.neighbors(i), &all.neighbors(i)[1..]);
        }
    }

    #[test]
    fn a_run_of_fewer_anchors_resumes_with_its_lists() {
        let (x, notes) = (rows(), Arc::<Notes>::default());
        let fit = |threads, folder: &std::path::Path, resume| {
            let ctx = Context::with_threads(threads).unwrap().observer(notes.clone());
            let checkpoints = Checkpoints::new(folder).resume(resume);
            Trainer::new(params(2)).checkpoints(checkpoints).fit(&ctx, &x).unwrap()
        };
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let searches = || notes.count("the clusters that each of 300 rows may look at hold");
        let first = fit(2, folders[0].path(), false);
        assert_eq!((first.report.training.n_anchors, searches()), (100, 1));

        // A run that ended before its first checkpoint has its lists, and so has one that ended.
        for name in ["knn.npy", "run.json"] {
            fs::copy(folders[0].path().join(name), folders[1].path().join(name)).unwrap();
        }
        for folder in folders.iter().rev() {
            let second = fit(1, folder.path(), true);
            assert_eq!(searches(), 1, "the lists are kept");
            assert_eq!(first.model.to_bytes().unwrap(), second.model.to_bytes().unwrap());
        }
    }
}
