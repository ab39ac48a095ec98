//! `twinlearn advise`

use twinlearn::{Advice, Metric, Result, Verdict, advise};
use twinlearn_report::Report;

use super::shared::{Memory, create_outputs, measured, name, open, write_html, write_json};
use crate::args::AdviseArgs;
use crate::logs::Logs;
use crate::ui::Ui;

pub(crate) fn run(ui: &Ui, args: &AdviseArgs) -> Result<()> {
    let metric = args.metric;
    let params = args.measuring.params(metric).fit_rows(args.fit_rows);
    let ctx = ui.context(&args.resources, Logs::default())?;
    let mut memory = Memory::of(&ctx, &args.resources)?;
    let x = open(&ctx, &args.x)?;
    let [json, html] = create_outputs(&args.measuring, &[Some(&x)], &[])?;
    let x = memory.load(&ctx, x)?;
    let ctx = memory.bound(ctx);
    let advice = advise(&ctx, &x, args.keep, &params)?;
    write_json(json, &advice)?;
    ui.show(&format!("{advice}\n{}", command(args, metric, &advice)))?;
    let Some(html) = html else { return Ok(()) };
    let facts = measured(&args.x, metric, args.measuring.n_neighbors, args.measuring.seed);
    let title = format!("Which dimension for {}", name(&args.x));
    write_html(html, &Report::new(title).advice(advice).facts("Measurement", &facts))
}

/// What to type next.
fn command(args: &AdviseArgs, metric: Metric, advice: &Advice) -> String {
    let x = quoted(&args.x.to_string_lossy());
    let metric = match metric {
        Metric::Cosine => String::new(),
        metric => format!(" --metric {metric}"),
    };
    // A name of its own: what is typed as it stands should not take the place of another model.
    let fit = |d: usize, kind: &str, solver: &str| {
        format!("twinlearn fit {x} -o {kind}-{d}.safetensors -d {d}{metric}{solver}")
    };
    match (advice.verdict, advice.n_components, advice.pca_n_components) {
        (Verdict::Tldr, Some(d), _) => fit(d, "tldr", ""),
        (Verdict::PcaIsEnough, _, Some(d)) => fit(d, "pca", " --solver pca"),
        _ => format!("twinlearn advise {x} --keep {:.2}{metric}", 0.9 * advice.keep),
    }
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:+,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_quoted_as_a_shell_wants_them() {
        assert_eq!(quoted("a/b-1.npy::x"), "a/b-1.npy::x");
        assert_eq!(quoted("my x.npy"), "'my x.npy'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
