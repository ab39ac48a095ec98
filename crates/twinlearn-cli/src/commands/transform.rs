//! `twinlearn transform`

use std::time::Instant;

use twinlearn::{Result, TransformOptions};

use super::shared::{Memory, codec, load_model, open};
use crate::args::TransformArgs;
use crate::logs::Logs;
use crate::terminal::print;
use crate::ui::{Ui, seconds};

pub(crate) fn run(ui: &Ui, args: &TransformArgs) -> Result<()> {
    let ctx = ui.context(&args.resources, Logs::default())?;
    let ctx = Memory::of(&ctx, &args.resources)?.bound(ctx);
    let model = load_model(&args.model, args.dim)?;
    let codec = codec(&model, args.bits, args.codes)?;
    let written = match &codec {
        Some(codec) => format!("{} bytes ({})", codec.row_bytes(), codec.spec()),
        None => format!("{} dimensions", model.n_components()),
    };
    let options = TransformOptions::default()
        .l2_norm(args.l2_norm)
        .dtype(args.dtype)
        .codec(codec)
        .column(&args.column)
        .keep_original(args.keep_original);
    let x = open(&ctx, &args.x)?;
    let start = Instant::now();
    model.transform_file(&ctx, &x, &args.output, &options)?;
    let elapsed = start.elapsed();
    print(&format!(
        "{}: {} rows, {} → {written}, in {} ({:.0} rows/s)",
        args.output.display(),
        x.n_rows(),
        model.n_features(),
        seconds(elapsed),
        x.n_rows() as f64 / elapsed.as_secs_f64(),
    ))
}
