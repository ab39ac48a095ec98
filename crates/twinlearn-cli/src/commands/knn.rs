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
    let (n_rows, ids) = match &queries {
        None => (x.n_rows(), knn_graph(&ctx, &x, &params)?.to_indices()),
        Some(queries) => {
            let found = knn_search(&ctx, queries, &x, &params)?;
            (queries.n_rows(), found.into_iter().map(i64::from).collect())
        }
    };
    let elapsed = start.elapsed();
    write_npy_integers(output, n_rows, &ids)?;
    print(&format!(
        "{}: {} nearest neighbours of {n_rows} rows of dimension {} ({}) in {}",
        args.output.display(),
        args.n_neighbors,
        x.dim(),
        args.metric,
        seconds(elapsed),
    ))
}
