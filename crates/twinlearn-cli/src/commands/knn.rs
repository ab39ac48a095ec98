//! `twinlearn knn`

use std::time::Instant;

use twinlearn::{NpyVectors, OutputFile, Result, Vectors, knn_graph, write_npy_integers};

use crate::args::KnnArgs;
use crate::ui::{Ui, print, seconds};

pub(crate) fn run(ui: &Ui, args: &KnnArgs) -> Result<()> {
    let metric = args.metric.parse()?;
    let ctx = ui.context(&args.threads, None)?;
    let x = NpyVectors::open(&args.x)?;
    let output = OutputFile::create(&args.output)?;
    let start = Instant::now();
    let graph = knn_graph(&ctx, &x, args.n_neighbors, metric)?;
    write_npy_integers(output, graph.n_rows(), &graph.to_indices())?;
    print(&format!(
        "{}: {} nearest neighbours of {} rows of dimension {} ({metric}) in {}",
        args.output.display(),
        graph.k(),
        graph.n_rows(),
        x.dim(),
        seconds(start.elapsed()),
    ))
}
