//! `twinlearn search`

use std::time::Instant;

use twinlearn::{Bits, CodeSearch, Model, OutputFile, Result, Vectors, write_npy_integers};

use super::shared::{Memory, check_outputs, open};
use crate::args::SearchArgs;
use crate::logs::Logs;
use crate::terminal::print;
use crate::ui::{Ui, seconds};

pub(crate) fn run(ui: &Ui, args: &SearchArgs) -> Result<()> {
    let ctx = ui.context(&args.resources, Logs::default())?;
    let mut memory = Memory::of(&ctx, &args.resources)?;
    let model = Model::load(&args.model)?;
    let codes = open(&ctx, &args.codes)?;
    let bits = args.bits.map(Bits::new).transpose()?;
    let (model, codec) = model.codec_of_file(&codes, args.dim, (bits, args.own))?;
    let queries = open(&ctx, &args.queries)?;
    let rows = args.rescore.as_ref().map(|path| open(&ctx, path)).transpose()?;
    let sources = [Some(&codes), Some(&queries), rows.as_ref()];
    check_outputs(&[Some(&args.output)], &sources, &[Some(&args.model)])?;
    let output = OutputFile::create_as(&args.output, &["npy"])?;
    let queries = memory.load(&ctx, queries)?;
    let codes = memory.load(&ctx, codes)?;
    let rows = rows.map(|rows| memory.load(&ctx, rows)).transpose()?;
    let ctx = memory.bound(ctx);

    let k = args.n_neighbors;
    let mut search = CodeSearch::new(&codec, k);
    search = rows.as_ref().map_or(search, |rows| search.rescore(rows));
    search = args.candidates.map_or(search, |count| search.candidates(count));
    let start = Instant::now();
    let found = model.search(&ctx, &codes, &queries, &search)?;
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
