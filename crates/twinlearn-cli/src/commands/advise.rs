//! `twinlearn advise`

use twinlearn::{Advice, Choice, Goal, Metric, Result, Verdict, advise};
use twinlearn_report::Report;

use super::shared::{Memory, create_outputs, measured, name, open, write_html, write_json};
use crate::args::{AdviseArgs, FOUND};
use crate::logs::Logs;
use crate::ui::Ui;

pub(crate) fn run(ui: &Ui, args: &AdviseArgs) -> Result<()> {
    let metric = args.metric;
    let params = args.measuring.params(metric).fit_rows(args.fit_rows).candidates(args.rescore);
    let goal = match (args.bytes, args.keep) {
        (Some(bytes), _) => Goal::Bytes(bytes),
        (None, keep) => Goal::Keep(keep.unwrap_or(KEEP)),
    };
    let ctx = ui.context(&args.resources, Logs::default())?;
    let mut memory = Memory::of(&ctx, &args.resources)?;
    let x = open(&ctx, &args.x)?;
    let [json, html] = create_outputs(&args.measuring, &[Some(&x)], &[])?;
    let x = memory.load(&ctx, x)?;
    let ctx = memory.bound(ctx);
    let advice = advise(&ctx, &x, goal, &params)?;
    write_json(json, &advice)?;
    ui.show(&format!("{advice}\n{}", commands(args, &advice)))?;
    let Some(html) = html else { return Ok(()) };
    let facts = measured(&args.x, metric, args.measuring.n_neighbors, args.measuring.seed);
    let title = format!("How to keep {}", name(&args.x));
    write_html(html, &Report::new(title).advice(advice).facts("Measurement", &facts))
}

/// The share that is to stay where nothing is asked.
const KEEP: f64 = 0.9;

/// What to type next.
fn commands(args: &AdviseArgs, advice: &Advice) -> String {
    let x = quoted(&args.x.to_string_lossy());
    let metric = match advice.metric {
        Metric::Cosine => String::new(),
        metric => format!(" --metric {metric}"),
    };
    let is_learned = matches!(advice.verdict, Verdict::Tldr | Verdict::PcaIsEnough);
    match (advice.fitted(), advice.keep) {
        (Some(choice), _) if is_learned => {
            let (kind, solver) = match choice.method.as_str() {
                "PCA" => ("pca", " --solver pca"),
                _ => ("tldr", ""),
            };
            // A name of its own: what is typed as it stands should not take the place of another model.
            let model = format!("{kind}-{}.safetensors", choice.n_components);
            let d = choice.n_components;
            let code = match choice.format.starts_with("pq:") {
                true => format!(" --codes {}", choice.format),
                false => String::new(),
            };
            let fit = format!("twinlearn fit {x} -o {model} -d {d}{metric}{solver}{code}");
            [vec![fit], steps(&x, &model, choice, (args.measuring.n_neighbors, args.rescore))]
                .concat()
                .join("\n")
        }
        (_, Some(keep)) if advice.verdict == Verdict::KeepAll => {
            format!("twinlearn advise {x} --keep {:.2}{metric}", 0.9 * keep)
        }
        _ => String::new(),
    }
}

/// How codes of a model are made and searched.
pub(crate) fn steps(
    x: &str,
    model: &str,
    choice: &Choice,
    (k, rescore): (usize, Option<usize>),
) -> Vec<String> {
    let flag = match choice.format.strip_prefix("sq") {
        Some(bits) => format!("--bits {bits}"),
        None if choice.format.starts_with("pq:") => "--codes".to_owned(),
        None => return vec![format!("twinlearn transform {model} {x} -o reduced.npy")],
    };
    let rescore =
        rescore.map_or(String::new(), |count| format!(" --rescore {x} --candidates {count}"));
    let k = if k == FOUND { String::new() } else { format!(" -k {k}") };
    vec![
        format!("twinlearn transform {model} {x} -o codes.npy {flag}"),
        format!(
            "twinlearn search {model} codes.npy --queries Q.npy{k} {flag} -o found.npy{rescore}"
        ),
    ]
}

/// As a shell takes it for one word.
pub(crate) fn quoted(text: &str) -> String {
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
