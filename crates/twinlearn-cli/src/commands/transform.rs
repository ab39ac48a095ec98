//! `twinlearn transform`

use std::time::Instant;

use twinlearn::{Model, NpyVectors, NpyWriter, Result, Vectors};

use crate::args::TransformArgs;
use crate::logs::Logs;
use crate::ui::{Ui, print, seconds};

pub(crate) fn run(ui: &Ui, args: &TransformArgs) -> Result<()> {
    let ctx = ui.context(&args.resources, Logs::default())?;
    let model = Model::load(&args.model)?;
    let x = NpyVectors::open(&args.x)?;
    let mut output = NpyWriter::create(&args.output, x.n_rows(), model.n_components())?;
    let start = Instant::now();
    model.transform_blocks(&ctx, &x, args.l2_norm, |rows| output.write_rows(rows))?;
    output.commit()?;
    let elapsed = start.elapsed();
    print(&format!(
        "{}: {} rows, {} → {} dimensions, in {} ({:.0} rows/s)",
        args.output.display(),
        x.n_rows(),
        model.n_features(),
        model.n_components(),
        seconds(elapsed),
        x.n_rows() as f64 / elapsed.as_secs_f64(),
    ))
}
