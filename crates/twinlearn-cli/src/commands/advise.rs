//! `twinlearn advise`

use twinlearn::{Metric, OutputFile, Result, VectorSource, Verdict, advise};
use twinlearn_report::Report;

use super::shared::{Memory, measured, name, write_html, write_json};
use crate::args::AdviseArgs;
use crate::logs::Logs;
use crate::ui::{Ui, print};

pub(crate) fn run(ui: &Ui, args: &AdviseArgs) -> Result<()> {
    let metric: Metric = args.metric.parse()?;
    let params = args.measuring.params(metric).fit_rows(args.fit_rows);
    let ctx = ui.context(&args.resources, Logs::default())?;
    let mut memory = Memory::of(&ctx, &args.resources)?;
    let x = VectorSource::open(&args.x)?;
    let json = args.measuring.json.as_deref().map(OutputFile::create).transpose()?;
    let html = args.measuring.html.as_deref().map(OutputFile::create).transpose()?;
    let x = memory.load(&ctx, x)?;
    let ctx = memory.bound(ctx);
    let advice = advise(&ctx, &x, args.keep, &params)?;
    write_json(json, &advice)?;
    let mut text = advice.to_string();
    if let (Verdict::Tldr, Some(d)) = (advice.verdict, advice.n_components) {
        let x = args.x.display();
        text += &format!("\ntwinlearn fit {x} -o model.safetensors --loss KL -d {d}");
    }
    print(&text)?;
    let Some(html) = html else { return Ok(()) };
    let facts = measured(&args.x, metric, args.measuring.n_neighbors, args.measuring.seed);
    let title = format!("Which dimension for {}", name(&args.x));
    write_html(html, &Report::new(title).advice(advice).facts("Measurement", &facts))
}
