//! A fit of more rows than all have their neighbours found.

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::uniform;
use twinlearn::{
    Checkpoints, Context, Event, FitData, KnnParams, Matrix, Metric, Observer, Params, Trainer,
    knn_search, recall_at_k,
};

const N: usize = 203_000;
const DIM: usize = 3;

/// Numbers that look random, of mean 0.
fn noise(seed: u64, n: usize) -> Matrix {
    let mut next = uniform(seed);
    let size = [1.0, 0.7, 0.2];
    let values = (0..n * DIM).map(|i| size[i % DIM] * (0..4).map(|_| next()).sum::<f32>());
    Matrix::new(n, DIM, values.collect()).unwrap()
}

/// Counts the searches for lists of anchors.
#[derive(Default)]
struct Searches(AtomicUsize);

impl Observer for Searches {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::Plan(plan) = event
            && plan.what.starts_with("approximate neighbours of 201000 ")
        {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn some(x: &Matrix, ids: impl Iterator<Item = usize>) -> Matrix {
    let values: Vec<f32> = ids.flat_map(|i| x.row(i).to_vec()).collect();
    Matrix::new(values.len() / x.cols(), x.cols(), values).unwrap()
}

#[test]
fn held_out_rows_are_judged_among_all_rows_and_a_run_resumes_with_its_lists() {
    let (x, asked) = (noise(1, N), noise(2, 400));
    let params = Params::builder().n_components(2).metric(Metric::L2).epochs(1).n_neighbors(20);
    let params = params.build().unwrap();
    assert!(params.n_anchors(N, DIM) < N && !params.needs_whole_graph(N));
    let searches = Arc::<Searches>::default();
    let fit = |threads, folder, resume| {
        let checkpoints = Checkpoints::new(folder).resume(resume);
        let trainer = Trainer::new(params.clone()).checkpoints(checkpoints);
        let ctx = Context::with_threads(threads).unwrap().observer(searches.clone());
        trainer.fit_data(&ctx, FitData::new(&x).queries(&asked)).unwrap()
    };
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = fit(2, folders[0].path(), false);
    assert!(first.graph.is_none());
    assert_eq!(searches.0.load(Ordering::Relaxed), 1);
    assert_eq!(first.report.training.n_anchors, N - 2000);
    assert_eq!((first.held_out.len(), first.judged.len()), (2000, 1000));

    // Its recall, by searches of everything at once.
    let ctx = Context::with_threads(2).unwrap();
    let base = some(&x, (0..N).filter(|&i| first.held_out.binary_search(&(i as u32)).is_err()));
    let rows = some(&x, first.judged.iter().map(|&i| i as usize));
    let knn = KnnParams::new(10).metric(Metric::L2);
    let recall = |queries: &Matrix| {
        let truth = knn_search(&ctx, queries, &base, &knn).unwrap();
        let [queries, base] =
            [queries, &base].map(|x| first.model.transform(&ctx, x, false).unwrap());
        let found = knn_search(&ctx, &queries, &base, &knn).unwrap();
        recall_at_k(truth.ids(), found.ids(), 10).unwrap()
    };
    let report = first.report.validation.as_ref().unwrap();
    assert_eq!(report.n_rows, 1000);
    let measured = recall(&rows);
    assert!((report.recall - measured).abs() < 1e-9, "{} {measured}", report.recall);

    // A run that ended before its first checkpoint has its lists.
    for name in ["knn.npy", "run.json"] {
        fs::copy(folders[0].path().join(name), folders[1].path().join(name)).unwrap();
    }
    let second = fit(1, folders[1].path(), true);
    assert_eq!(searches.0.load(Ordering::Relaxed), 1, "the lists are kept");
    assert_eq!(first.model.to_bytes().unwrap(), second.model.to_bytes().unwrap());
}
