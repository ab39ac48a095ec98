//! `twinlearn knn`

use std::time::Instant;

use twinlearn::{
    KnnParams, OutputFile, Result, Vectors, knn_graph, knn_search, write_npy_integers,
};

use super::shared::{Memory, check_outputs, open};
use crate::args::KnnArgs;
use crate::logs::Logs;
use crate::terminal::print;
use crate::ui::{Ui, seconds};

pub(crate) fn run(ui: &Ui, args: &KnnArgs) -> Result<()> {
    let params = KnnParams::new(args.n_neighbors)
        .metric(args.metric)
        .method(args.method)
        .approximation(args.approximation)
        .seed(args.seed);
    let ctx = ui.context(&args.resources, Logs::default())?;
    let mut memory = Memory::of(&ctx, &args.resources)?;
    let x = open(&ctx, &args.x)?;
    let queries = args.queries.as_ref().map(|path| open(&ctx, path)).transpose()?;
    check_outputs(&[Some(&args.output)], &[Some(&x), queries.as_ref()], &[])?;
    let output = OutputFile::create_as(&args.output, &["npy"])?;
    let queries = queries.map(|queries| memory.load(&ctx, queries)).transpose()?;
    let x = memory.load(&ctx, x)?;
    let ctx = memory.bound(ctx);
    let start = Instant::now();
    let graph = match &queries {
        None => knn_graph(&ctx, &x, &params)?,
        Some(queries) => knn_search(&ctx, queries, &x, &params)?,
    };
    let n_rows = graph.n_rows();
    let elapsed = start.elapsed();
    write_npy_integers(output, n_rows, &graph.to_indices())?;
    print(&format!(
        "{}: {} nearest neighbours of {n_rows} rows of dimension {} ({}) in {}",
        args.output.display(),
        args.n_neighbors,
        x.dim(),
        args.metric,
        seconds(elapsed),
    ))
}
