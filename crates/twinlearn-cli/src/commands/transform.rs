//! `twinlearn transform`

use std::time::Instant;

use twinlearn::{Model, Result, TransformOptions};

use super::shared::{Memory, open};
use crate::args::TransformArgs;
use crate::logs::Logs;
use crate::terminal::print;
use crate::ui::{Ui, seconds};

pub(crate) fn run(ui: &Ui, args: &TransformArgs) -> Result<()> {
    let options = TransformOptions::default()
        .l2_norm(args.l2_norm)
        .dtype(args.dtype)
        .column(&args.column)
        .keep_original(args.keep_original);
    let ctx = ui.context(&args.resources, Logs::default())?;
    let ctx = Memory::of(&ctx, &args.resources)?.bound(ctx);
    let model = Model::load(&args.model)?;
    let model = match args.dim {
        Some(dim) => model.prefix(dim)?,
        None => model,
    };
    let x = open(&ctx, &args.x)?;
    let start = Instant::now();
    model.transform_file(&ctx, &x, &args.output, &options)?;
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
