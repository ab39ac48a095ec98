//! `twinlearn search`

use std::time::Instant;

use twinlearn::{Error, OutputFile, Result, Vectors, rescore, search_codes, write_npy_integers};

use super::shared::{Memory, check_outputs, codec, load_model, open};
use crate::args::SearchArgs;
use crate::logs::Logs;
use crate::terminal::print;
use crate::ui::{Ui, seconds};

pub(crate) fn run(ui: &Ui, args: &SearchArgs) -> Result<()> {
    let ctx = ui.context(&args.resources, Logs::default())?;
    let mut memory = Memory::of(&ctx, &args.resources)?;
    let model = load_model(&args.model, args.dim)?;
    let codes = open(&ctx, &args.codes)?;
    let codec = match codec(&model, args.bits, args.own)? {
        Some(codec) => codec,
        None => model.codec_of(codes.dim())?,
    };
    let queries = open(&ctx, &args.queries)?;
    let rows = args.rescore.as_ref().map(|path| open(&ctx, path)).transpose()?;
    if let Some(rows) = &rows
        && rows.n_rows() != codes.n_rows()
    {
        return Err(Error::Invalid {
            name: "rescore".to_owned(),
            expected: format!("{} rows, one for each code", codes.n_rows()),
            actual: rows.n_rows().to_string(),
        });
    }
    let sources = [Some(&codes), Some(&queries), rows.as_ref()];
    check_outputs(&[Some(&args.output)], &sources, &[Some(&args.model)])?;
    let output = OutputFile::create_as(&args.output, &["npy"])?;
    let queries = memory.load(&ctx, queries)?;
    let codes = memory.load(&ctx, codes)?;
    let rows = rows.map(|rows| memory.load(&ctx, rows)).transpose()?;
    let ctx = memory.bound(ctx);

    let k = args.n_neighbors;
    let start = Instant::now();
    let reduced = model.transform(&ctx, &queries, false)?;
    let found = match &rows {
        None => search_codes(&ctx, &codec, &codes, &reduced, k)?,
        Some(rows) => {
            let count = args.candidates.min(codes.n_rows());
            if k > count {
                return Err(Error::Invalid {
                    name: "candidates".to_owned(),
                    expected: format!("at least -k, {k}"),
                    actual: count.to_string(),
                });
            }
            let candidates = search_codes(&ctx, &codec, &codes, &reduced, count)?;
            rescore(&ctx, &candidates, &queries, rows, k, codec.metric())?
        }
    };
    let elapsed = start.elapsed();
    let found: Vec<i64> = found.into_iter().map(i64::from).collect();
    write_npy_integers(output, queries.n_rows(), &found)?;
    print(&format!(
        "{}: {k} of {} codes of {} bytes ({}, {}) for each of {} queries in {} ({:.0} queries/s)",
        args.output.display(),
        codes.n_rows(),
        codec.row_bytes(),
        codec.spec(),
        codec.metric(),
        queries.n_rows(),
        seconds(elapsed),
        queries.n_rows() as f64 / elapsed.as_secs_f64(),
    ))
}
